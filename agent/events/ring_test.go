package events

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/op"
)

func ring(internal func(Event), services ...Service) *Ring {
	return New(Config{NodeName: "web-1", Services: func() []Service { return services }, Internal: internal, Registerer: prometheus.NewRegistry()})
}

// fired sends an event to a ring as gossip would.
func fired(t *testing.T, r *Ring, e Event) Event {
	t.Helper()
	sent, b, err := Pack(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Receive(b, 7); err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestEventArrivesAsItWasFired(t *testing.T) {
	r := ring(nil)
	_, changed := r.List("")
	sent := fired(t, r, Event{Name: "deploy", Payload: []byte("1.2"), NodeFilter: "^web"})
	select {
	case <-changed:
	default:
		t.Error("who waits is not told")
	}
	got, _ := r.List("deploy")
	sent.LTime = 7
	if len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(sent) || sent.Version != 1 || len(sent.ID) != 36 {
		t.Errorf("%+v, want %+v", got, sent)
	}
	if other, _ := r.List("other"); len(other) != 0 {
		t.Errorf("%+v", other)
	}
}

func TestFiltersDecideAtTheReceiver(t *testing.T) {
	web := []Service{{Name: "web", Tags: []string{"v1", "eu"}}, {Name: "db", Tags: []string{"v2"}}}
	for _, c := range []struct {
		e    Event
		want bool
	}{
		{Event{}, true},
		{Event{NodeFilter: "web-[0-9]"}, true},
		{Event{NodeFilter: "^db"}, false},
		{Event{ServiceFilter: "^we"}, true},
		{Event{ServiceFilter: "cache"}, false},
		{Event{ServiceFilter: "web", TagFilter: "v1"}, true},
		{Event{ServiceFilter: "web", TagFilter: "v2"}, false}, // that is db's
		{Event{ServiceFilter: "web|db", TagFilter: "v2"}, true},
		{Event{NodeFilter: "^db", ServiceFilter: "web"}, false},
	} {
		c.e.Name = "e"
		r := ring(nil, web...)
		fired(t, r, c.e)
		if got, _ := r.List(""); (len(got) == 1) != c.want {
			t.Errorf("%+v: kept %d", c.e, len(got))
		}
	}
}

func TestOnlyTheLastAreKept(t *testing.T) {
	r := ring(nil)
	for i := range Kept + 10 {
		fired(t, r, Event{Name: fmt.Sprint("e", i)})
	}
	got, _ := r.List("")
	if len(got) != Kept || got[0].Name != "e10" || got[Kept-1].Name != fmt.Sprint("e", Kept+9) {
		t.Errorf("%d events from %s", len(got), got[0].Name)
	}
}

func TestEventsBetweenAgentsAreHandedOnAndNotKept(t *testing.T) {
	var got []Event
	r := ring(func(e Event) { got = append(got, e) })
	fired(t, r, Event{Name: "_rexec", Payload: []byte("x")})
	fired(t, r, Event{Name: "_rexec", NodeFilter: "other"})
	if kept, _ := r.List(""); len(kept) != 0 || len(got) != 1 || string(got[0].Payload) != "x" {
		t.Errorf("%d kept, %+v", len(kept), got)
	}
}

func TestWhatCannotBeFiredSaysWhy(t *testing.T) {
	for _, c := range []struct {
		e    Event
		code op.Code
		want string
	}{
		{Event{}, op.CodeInvalid, "Missing name"},
		{Event{Name: "_internal"}, op.CodeInvalid, "between agents"},
		{Event{Name: "e", TagFilter: "v1"}, op.CodeInvalid, "without service filter"},
		{Event{Name: "e", NodeFilter: "("}, op.CodeInvalid, "node filter"},
		{Event{Name: "e", ServiceFilter: "["}, op.CodeInvalid, "service filter"},
		{Event{Name: "e", ServiceFilter: "a", TagFilter: "*"}, op.CodeInvalid, "tag filter"},
		{Event{Name: "e", Payload: make([]byte, MaxGossip)}, op.CodeTooLarge, "bytes"},
		{Event{Name: "e", Payload: make([]byte, MaxGossip-gossipHeader)}, op.CodeTooLarge, "bytes"},
		{Event{Name: "e", NodeFilter: strings.Repeat("(", 10_000)}, op.CodeTooLarge, "bytes"},
	} {
		_, _, err := Pack(c.e)
		if op.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60v: %v", c.e, err)
		}
	}
}

func TestGarbageFromGossipIsCounted(t *testing.T) {
	r := ring(nil)
	_, good, err := Pack(Event{Name: "e"})
	if err != nil {
		t.Fatal(err)
	}
	bad, err := (&packed{ID: make([]byte, 16), Name: "e", Node: "("}).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := [][]byte{nil, {0xc1}, append(good[:len(good):len(good)], 0), bad, make([]byte, 5000)}
	for _, b := range all {
		if r.Receive(b, 1) == nil {
			t.Errorf("%.20x is taken", b)
		}
	}
	if n := testutil.ToFloat64(r.metrics.invalid); n != float64(len(all)) {
		t.Errorf("%v counted", n)
	}
}

func TestAnEventIsKeptOnceHoweverOftenItIsFired(t *testing.T) {
	r := ring(nil)
	first := fired(t, r, Event{Name: "deploy"})
	again := fired(t, r, first)
	other := fired(t, r, Event{Name: "deploy"})
	if again.ID != first.ID || other.ID == first.ID {
		t.Errorf("fired as %s, again as %s, another one as %s", first.ID, again.ID, other.ID)
	}
	if got, _ := r.List(""); len(got) != 2 || got[0].ID != first.ID || got[1].ID != other.ID {
		t.Errorf("kept: %+v", got)
	}
	if _, _, err := Pack(Event{Name: "deploy", ID: "seven"}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("an ID that is none: %v", err)
	}
}

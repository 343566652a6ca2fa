package announce

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/op"
)

// fleet are datacenters that note which events they are told of.
type fleet struct {
	mu    sync.Mutex
	heard map[string][]string // IDs by datacenter
	says  map[string]func(ctx context.Context, times int) error
}

func (f *fleet) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	e := request.(*events.Event)
	f.mu.Lock()
	f.heard[call.Header.Datacenter] = append(f.heard[call.Header.Datacenter], e.ID)
	n, says := len(f.heard[call.Header.Datacenter]), f.says[call.Header.Datacenter]
	f.mu.Unlock()
	if says != nil {
		if err := says(ctx, n); err != nil {
			return nil, err
		}
	}
	return op.NewReply(op.Meta{}, e), nil
}

func silent(ctx context.Context, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

func announced(t *testing.T, f *fleet, to string) (*events.Announced, error) {
	t.Helper()
	f.heard = map[string][]string{}
	a := New(Config{Datacenter: "dc1", Others: func() []string { return []string{"dc2", "dc3"} }, Caller: f})
	got, err := a.Handler().Answer(t.Context(), op.Header{Token: "t"}, &events.Announcement{Event: events.Event{Name: "deploy"}, Datacenters: to})
	if err != nil {
		return nil, err
	}
	return got.(*events.Announced), nil
}

func TestAllAreToldOfOneEvent(t *testing.T) {
	f := &fleet{}
	got, err := announced(t, f, op.All)
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Told{{Datacenter: "dc1"}, {Datacenter: "dc2"}, {Datacenter: "dc3"}}
	if !slices.Equal(got.Told, want) {
		t.Errorf("told: %+v", got.Told)
	}
	if got.Event.Version != 1 {
		t.Errorf("the event is shown as of version %d, where one datacenter shows 1", got.Event.Version)
	}
	for _, dc := range []string{"", "dc2", "dc3"} {
		if !slices.Equal(f.heard[dc], []string{got.Event.ID}) {
			t.Errorf("%q was told %v, want %s once", dc, f.heard[dc], got.Event.ID)
		}
	}
	if got, err = announced(t, f, "dc3,dc2"); err != nil || len(got.Told) != 2 || got.Told[0].Datacenter != "dc3" || f.heard[""] != nil {
		t.Errorf("a list: %+v, %v; heard %v", got, err, f.heard)
	}
}

func TestWhoIsNotToldIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{says: map[string]func(context.Context, int) error{
			"dc2": silent,
			"dc3": func(ctx context.Context, times int) error { // its first answer is lost
				if times == 1 {
					return op.Errorf(op.CodeLost, "the connection was lost")
				}
				return nil
			},
		}}
		began := time.Now()
		got, err := announced(t, f, op.All)
		if err != nil {
			t.Fatal(err)
		}
		if got.Told[0].Error != "" || got.Told[1].Error == "" || got.Told[2].Error != "" {
			t.Errorf("told: %+v", got.Told)
		}
		if took := time.Since(began); took != askTimeout {
			t.Errorf("the silent one was waited for %s", took)
		}
		if !slices.Equal(f.heard["dc3"], []string{got.Event.ID, got.Event.ID}) || len(f.heard["dc2"]) != 2 {
			t.Errorf("told again: %v", f.heard)
		}
	})
}

func TestWhatIsNotAnnounced(t *testing.T) {
	f := &fleet{}
	for to, want := range map[string]string{"nearest": "one datacenter", "dc2>dc3": "one datacenter", "dc2,,dc3": "a list of datacenters"} {
		if _, err := announced(t, f, to); op.CodeOf(err) != op.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", to, err)
		}
	}
	denied := func(context.Context, int) error { return op.Errorf(op.CodeDenied, "Permission denied") }
	f.says = map[string]func(context.Context, int) error{"": denied, "dc2": denied, "dc3": denied}
	f.says["dc3"] = func(context.Context, int) error {
		return op.Errorf(op.CodeUnreachableDatacenter, "No path to datacenter")
	}
	if _, err := announced(t, f, op.All); op.CodeOf(err) != op.CodeDenied || err.Error() != "no datacenter was told: dc1: Permission denied; dc2: Permission denied; dc3: No path to datacenter" {
		t.Errorf("told nobody: %v", err)
	}
	if n := len(f.heard["dc2"]); n != 1 {
		t.Errorf("who refuses was asked %d times", n)
	}
	a := New(Config{Datacenter: "dc1", Others: func() []string { return nil }, Caller: f})
	if _, err := a.Handler().Answer(t.Context(), op.Header{}, &events.Announcement{Event: events.Event{Name: events.RemoteExec}, Datacenters: op.All}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("remote execution: %v", err)
	}
}

// However many could not be told, the error has an end.
func TestTheErrorOfNobodyIsBounded(t *testing.T) {
	var names []string
	var failed []error
	for i := range maxTold {
		names = append(names, fmt.Sprint("dc", i))
		failed = append(failed, op.Errorf(op.CodeInvalid, "%s", strings.Repeat("no ", 1000)))
	}
	text := nobody(names, failed).Error()
	if !strings.HasSuffix(text, "; and 240 more") || !strings.Contains(text, "dc15: ") || strings.Contains(text, "dc16: ") || len(text) > maxNamed*(maxReason+20) {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	if err := nobody(names[:1], failed[:1]); err != failed[0] {
		t.Error(err)
	}
}

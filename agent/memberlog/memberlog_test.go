package memberlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// never says that no member comes and goes.
func never(string) bool { return false }

// happened is an event of the members named, of dc2.
func happened(kind gossip.Kind, names ...string) gossip.Event {
	e := gossip.Event{Kind: kind, At: time.Now()}
	for _, name := range names {
		e.Members = append(e.Members, gossip.Member{Name: name, Tags: map[string]string{"dc": "dc2"}})
	}
	return e
}

// A server that comes and goes has one line when that is noticed and one when it is
// over, from who notices; not two for each time.
func TestMembersThatComeAndGoAreNotLoggedEachTime(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&out, nil)))
	damped := func(name string) bool { return name == "b1.dc2" }
	for range 100 {
		for _, kind := range []gossip.Kind{gossip.Join, gossip.Fail} {
			l.Event("wan", happened(kind, "b1.dc2"), damped)
		}
	}
	if out.Len() > 0 {
		t.Errorf("a damped server has lines:\n%s", out.String())
	}
	for _, kind := range []gossip.Kind{gossip.Join, gossip.Fail, gossip.Leave, gossip.Reap} {
		l.Event("wan", happened(kind, "b2.dc2"), damped)
	}
	l.Event("wan", happened(gossip.Leave, "b1.dc2"), damped)
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("%d lines of 5:\n%s", n, out.String())
	}
}

func TestMembershipLinesSayWhyAndHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)))
		failed := happened(gossip.Fail, "b1.dc2")
		failed.Reasons = map[string]string{"b1.dc2": "silent"}
		l.Event("wan", failed, never)
		l.Event("lan", happened(gossip.Fail, "b1.dc2"), never)
		<-time.After(90 * time.Second)
		l.Event("wan", happened(gossip.Join, "b1.dc2"), never)
		l.Event("wan", happened(gossip.Join, "b2.dc2"), never)
		for _, want := range []string{`level=WARN msg="member failed" pool=wan member=b1.dc2 address="" why=silent`, `pool=lan member=b1.dc2 address="" why="others say so"`,
			`msg="member is back" pool=wan member=b1.dc2 address="" absent=1m30s`, `msg="member joined" pool=wan member=b2.dc2`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in:\n%s", want, &out)
			}
		}
	})
}

// A datacenter that is cut off is some lines, not one for each of its servers.
func TestBurstsOfMembershipAreSummed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)))
		for i := range 200 {
			l.Event("wan", happened(gossip.Fail, fmt.Sprint("s", i, ".dc2")), never)
		}
		l.Event("wan", happened(gossip.Join, "a.dc1"), never) // another kind
		l.sweep(false)
		if n := strings.Count(out.String(), "\n"); n != burstLines+1 {
			t.Errorf("%d lines for 201 events", n)
		}
		<-time.After(burstWindow)
		l.sweep(false)
		if want := `level=WARN msg="more members failed" pool=wan count=190 by_datacenter="dc2=190" took=10s`; !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	})
}

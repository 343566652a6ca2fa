package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/transport"
)

// site is a datacenter of three servers that say what the test wants.
type site struct {
	servers []lan.Server

	mu    sync.Mutex
	asked []string
	say   func(id string) error // nil answers
	takes time.Duration
}

func newSite() *site {
	s := &site{}
	for _, id := range []string{"a", "b", "c"} {
		s.servers = append(s.servers, lan.Server{Name: id, ID: id, Addr: "127.0.0.1", RPCPort: 8300, Status: gossip.Alive})
	}
	return s
}

func (s *site) Servers() []lan.Server { return s.servers }
func (s *site) NumMembers() int       { return len(s.servers) }

func (s *site) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

func (s *site) RoundTrip(_ context.Context, to transport.Target, _ string, _, _ []byte) ([]byte, error) {
	s.mu.Lock()
	s.asked = append(s.asked, to.NodeID)
	s.mu.Unlock()
	<-time.After(s.takes) // virtual time
	switch err := s.say(to.NodeID); {
	case errors.Is(err, transport.ErrUnreachable), errors.Is(err, transport.ErrLost):
		return nil, err
	case err != nil:
		return op.AppendError(nil, err), nil
	}
	return op.AppendReply(nil, op.NewReply(op.Meta{}, &kv.Entry{Key: "k"}))
}

func (s *site) client() *Client {
	return New(Config{Datacenter: "dc1", Servers: s, Transport: s, HoldTimeout: 7 * time.Second, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
}

func ask(t *testing.T, c *Client, dc string) error {
	t.Helper()
	_, _, err := kv.Get.Call(t.Context(), c, op.Header{Datacenter: dc}, &kv.GetRequest{Key: "k"})
	return err
}

// What is wrong with another datacenter is said by one server, once: the next would
// take as long to find out the same.
func TestWhatIsWrongElsewhereIsSaidByOneServer(t *testing.T) {
	for _, code := range []op.Code{op.CodeUnreachableDatacenter, op.CodeNoLeader, op.CodeLeftDatacenter, op.CodeUnknownDatacenter, op.CodeRemovedDatacenter} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite()
			s.takes = 2 * time.Second
			s.say = func(string) error { return &op.Error{Code: code, Text: "no", Datacenter: "dc2"} }
			start := time.Now()
			if err := ask(t, s.client(), "dc2"); op.CodeOf(err) != code || len(s.asked) != 1 || time.Since(start) != s.takes {
				t.Errorf("%s: %v after %s, asked %v", code, err, time.Since(start), s.asked)
			}
		})
	}
}

// A server that alone does not reach another datacenter costs one call, not all.
func TestNextCallElsewhereGoesToAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		c := s.client()
		s.say = func(string) error { return nil }
		if err := ask(t, c, "dc2"); err != nil {
			t.Fatal(err)
		}
		cut := s.asked[0]
		s.say = func(id string) error {
			if id == cut {
				return &op.Error{Code: op.CodeUnreachableDatacenter, Text: "no", Datacenter: "dc2"}
			}
			return nil
		}
		if err := ask(t, c, "dc2"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
			t.Fatal(err)
		}
		for range 20 {
			if err := ask(t, c, "dc2"); err != nil {
				t.Fatal(err)
			}
		}
		s.asked, s.say = nil, func(string) error { return nil }
		if err := ask(t, c, ""); err != nil || !slices.Equal(s.asked, []string{cut}) {
			t.Errorf("a call of the own datacenter went to %v: %v", s.asked, err)
		}
	})
}

// While the own datacenter elects a leader its servers are asked again.
func TestOwnDatacenterWithoutALeaderIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		c := s.client()
		elected := time.Now().Add(3 * time.Second)
		s.say = func(string) error {
			if time.Now().Before(elected) {
				return op.ErrNoLeader
			}
			return nil
		}
		if err := ask(t, c, ""); err != nil || len(s.asked) < 3 {
			t.Errorf("%v, asked %v", err, s.asked)
		}
	})
}

// Nobody waits for a leader longer than the hold, and without one nobody waits.
func TestAHoldEnds(t *testing.T) {
	for _, hold := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite()
			s.say = func(string) error { return op.ErrNoLeader }
			c := s.client()
			c.cfg.HoldTimeout = hold
			start := time.Now()
			err := ask(t, c, "")
			if took := time.Since(start); op.CodeOf(err) != op.CodeNoLeader || took > hold || took < hold-100*time.Millisecond {
				t.Errorf("a hold of %s: %v after %s", hold, err, took)
			}
		})
	}
}

// Above the rate calls are refused as busy, before any server is asked; what the agent
// does by itself is not refused, and counts.
func TestCallsAreBoundedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		s.say = func(string) error { return nil }
		limit := rate.NewLimiter(2, 3)
		c := New(Config{Datacenter: "dc1", Servers: s, Transport: s, Streams: s, Rate: limit, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
		follow := func() error {
			return c.Subscribe(t.Context(), op.NewCall(&kv.Get, op.Header{}, &kv.GetRequest{Key: "k"}), func(*op.Reply) error { return nil })
		}
		for range 3 {
			if err := ask(t, c, ""); err != nil {
				t.Fatal(err)
			}
		}
		refused := func(what string, err error) {
			t.Helper()
			if op.CodeOf(err) != op.CodeBusy || !strings.Contains(err.Error(), "limits.rpc_rate") || len(s.asked) != 3 {
				t.Errorf("%s: %v, asked %d times", what, err, len(s.asked))
			}
		}
		refused("a call above the rate", ask(t, c, ""))
		refused("a subscription above the rate", follow())
		if n := testutil.ToFloat64(c.metrics.exceeded); n != 2 {
			t.Errorf("%v refused calls are counted, want 2", n)
		}
		own := func() error {
			_, _, err := kv.Get.Call(t.Context(), c.Own(), op.Header{}, &kv.GetRequest{Key: "k"})
			return err
		}
		if err := own(); err != nil {
			t.Errorf("the agent's own: %v", err)
		}
		<-time.After(time.Second) // two more, of which the agent takes one
		if err := errors.Join(own(), ask(t, c, "")); err != nil {
			t.Error(err)
		}
		if err := ask(t, c, ""); op.CodeOf(err) != op.CodeBusy {
			t.Errorf("the agent's own call does not count: %v", err)
		}
		limit.SetLimit(rate.Inf)
		if err := ask(t, c, ""); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	})
}

// A server that did not answer is the last that is tried for a while, also where another
// one fails after it.
func TestAServerThatDidNotAnswerIsTriedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		c := s.client()
		dead := map[string]bool{}
		s.say = func(id string) error {
			if dead[id] {
				return transport.ErrUnreachable
			}
			return nil
		}
		for range 2 { // who is in use dies, one after another
			s.asked = nil
			if err := ask(t, c, ""); err != nil || len(s.asked) > 2 {
				t.Fatalf("asked %v: %v", s.asked, err)
			}
			dead[s.asked[len(s.asked)-1]] = true
		}
		for range 20 {
			s.asked = nil
			if err := ask(t, c, ""); err != nil || len(s.asked) > 2 || len(s.asked) == 2 && s.asked[0] == s.asked[1] {
				t.Fatalf("asked %v: %v", s.asked, err)
			}
		}
		if s.asked = nil; ask(t, c, "") != nil || len(s.asked) != 1 {
			t.Errorf("asked %v although it is known who answers", s.asked)
		}
		clear(dead)
		<-time.After(avoidFor)
		if ask(t, c, "") != nil || c.avoided.Load() != nil {
			t.Error("who did not answer is avoided for ever")
		}
	})
}

// TestAServerThatTellsOfALostLeaderIsAskedAgain: it answered, so it is not avoided, and
// nobody asks the leader whose loss it told of.
func TestAServerThatTellsOfALostLeaderIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		c := s.client()
		c.roundRobin.Store(0)
		dead := "b"
		c.leader.Store(&dead)
		c.avoid(c.alive()[1]) // so that another server hands calls to it
		s.say = func(id string) error {
			if id == dead {
				return transport.ErrUnreachable
			}
			return op.Errorf(op.CodeLost, "connection to b lost")
		}
		write := func() error {
			s.asked = nil
			_, _, err := kv.Apply.Call(t.Context(), c, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}})
			return err
		}
		for range 3 {
			if err := write(); op.CodeOf(err) != op.CodeLost || len(s.asked) != 1 || s.asked[0] == dead {
				t.Fatalf("asked %v: %v", s.asked, err)
			}
			<-time.After(avoidFor) // the leader is no longer avoided
		}
	})
}

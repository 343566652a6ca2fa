package client

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	if err := s.say(to.NodeID); err != nil {
		return op.AppendError(nil, err), nil
	}
	return op.AppendReply(nil, op.NewReply(op.Meta{}, &kv.Entry{Key: "k"}))
}

func (s *site) client() *Client {
	return New(Config{Datacenter: "dc1", Servers: s, Transport: s, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
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

package wan

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport"
)

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) with(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.all.String()) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// News that wait are put into packets until those are full. What has all that is
// around it must still fit a datagram: it would be lost, and what is in it counts
// as told.
func TestFullPacketsOfNewsFitADatagram(t *testing.T) {
	var log lines
	heard := make(chan string, 4096)
	a := startNode(t, "dc1", "a1", settings{config: func(c *Config) { c.Log = logging.New(&log, debugLevel(), false) }})
	b := startNode(t, "dc2", "b1", settings{config: func(c *Config) {
		c.OnChange = func(e Event) {
			if e.Kind == gossip.User {
				heard <- e.User.Name
			}
		}
	}})
	a.join(b)
	const news = 300
	for i := range news {
		if err := a.pool.UserEvent(fmt.Sprintf("event %d", i), bytes.Repeat([]byte("x"), i%40), false); err != nil {
			t.Fatal(err)
		}
	}
	late := time.After(patience)
	for n := range news {
		select {
		case <-heard:
		case <-late:
			t.Fatalf("only %d of %d events came", n, news)
		}
	}
	if line := log.with("too large"); line != "" {
		t.Errorf("a packet was not sent: %s", line)
	}
}

// Who was refused is not dialled for seconds; but whoever is told to join does so.
func TestJoinIsTriedAtOnceAfterARefusal(t *testing.T) {
	var refused atomic.Bool
	refused.Store(true)
	a := startNode(t, "dc1", "a1", settings{config: func(c *Config) {
		c.Refuse = func(string) error {
			if refused.Load() {
				return errors.New("not now")
			}
			return nil
		}
	}})
	b := startNode(t, "dc2", "b1", settings{})
	if _, err := b.pool.Join([]string{a.addr()}); err == nil {
		t.Fatal("it was not refused")
	}
	eventually(t, patience, "the refusal is noted", func() bool {
		return slices.ContainsFunc(b.endpoint.Stats(), func(s transport.PathStats) bool { return s.Err != nil })
	})
	refused.Store(false)
	if _, err := b.pool.Join([]string{a.addr()}); err != nil {
		t.Error(err)
	}
}

// What a pool that ended still wants to send is lost like any packet: for each
// there would be a line that says nothing.
func TestPoolThatLeftSaysNothingMore(t *testing.T) {
	a := startNode(t, "dc1", "a1", settings{})
	c := newQUICTransport(a.endpoint, func([]byte) {}, func() {})
	a.kill()
	if err := c.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte("x"), "127.0.0.1:1"); err != nil {
		t.Error(err)
	}
}

package wan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/legate-project/legate/internal/gossip"
)

// wire notes what is sent, and knows which members are connected.
type wire struct {
	memberlist.NodeAwareTransport

	mu        sync.Mutex
	sent      []string // to whom
	connected map[string]bool
	dials     map[string]time.Duration // how long they take
	dialled   map[string]int
	keeps     bool // who was dialled is connected
}

func (w *wire) WriteToAddress(_ []byte, a memberlist.Address) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, a.Name)
	return time.Now(), nil
}

func (w *wire) Shutdown() error { return nil }

func (w *wire) Connected(a memberlist.Address) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connected[a.Name]
}

func (w *wire) Open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.connected)
}

func (w *wire) Anyone(but []string) (memberlist.Address, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	again := memberlist.Address{}
	for name := range w.connected {
		if again = (memberlist.Address{Name: name, Addr: name}); !slices.Contains(but, name) {
			return again, true
		}
	}
	if again.Name != "" {
		return again, true
	}
	return memberlist.Address{}, false
}

func (w *wire) Dial(ctx context.Context, a memberlist.Address) error {
	w.mu.Lock()
	takes, reached := w.dials[a.Name]
	w.dialled[a.Name]++
	w.mu.Unlock()
	if !reached {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(takes):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keeps {
		w.connected[a.Name] = true
	}
	return nil
}

func (w *wire) took() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.sent = nil }()
	return slices.Clone(w.sent)
}

// sparsePool is the transport of a member of a pool of so many.
func sparsePool(members int) (*wire, *sparse) {
	w := &wire{connected: map[string]bool{}, dials: map[string]time.Duration{}, dialled: map[string]int{}}
	s := newSparse("m0", w, w)
	for i := range members {
		s.has(Member{Name: fmt.Sprint("m", i), Status: gossip.Alive}, gossip.Join)
	}
	return w, s
}

// Messages as memberlist writes them: of the types of which the first bytes say enough.
func probeMessage() []byte    { return []byte{0, 'x'} }
func ackMessage() []byte      { return []byte{2, 'x'} }
func newsMessage() []byte     { return []byte{aliveMessage, 'x'} }
func queryMessage() []byte    { return []byte{userMessage, serfQueryMessage, 'x'} }
func responseMessage() []byte { return []byte{userMessage, 5, 'x'} }

// together is two messages in one packet, behind a label.
func together(a, b []byte) []byte {
	out := []byte{labelMessage, 1, 'l', compoundMessage, 2, 0, byte(len(a)), 0, byte(len(b))}
	return append(append(out, a...), b...)
}

func TestWhatIsNews(t *testing.T) {
	for _, c := range []struct {
		what string
		b    []byte
		want bool
	}{
		{"a probe", probeMessage(), false}, {"an answer to one", ackMessage(), false}, {"that one lives", newsMessage(), true},
		{"a question to all", queryMessage(), true}, {"an answer to that", responseMessage(), false},
		{"news and a question", together(newsMessage(), queryMessage()), true}, {"news and a probe", together(newsMessage(), probeMessage()), false},
		{"that somebody else is to probe", []byte{indirectMessage, 'x'}, true}, {"nothing", nil, false}, {"nonsense", []byte{200, 1, 2}, false},
	} {
		if got := news(c.b); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
}

// In a pool that is not large all goes to whom it is meant for, as ever.
func TestAPoolThatIsNotLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := sparsePool(sparseAbove)
		w.connected["m1"] = true
		for _, b := range [][]byte{newsMessage(), probeMessage()} {
			if _, err := s.WriteToAddress(b, memberlist.Address{Name: "m0"}); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.took(); !slices.Equal(got, []string{"m0", "m0"}) {
			t.Errorf("sent to %v", got)
		}
		if s.idle() != idleDrop {
			t.Errorf("connections are closed after %v", s.idle())
		}
		s.has(Member{Name: "m0"}, gossip.Leave)
		s.has(Member{Name: "one"}, gossip.Join)
		s.has(Member{Name: "another"}, gossip.Update)
		if s.idle() != sparseIdle {
			t.Errorf("in a large one connections are closed after %v", s.idle())
		}
	})
}

// In a large pool news goes to somebody to whom there is a connection; what is for one member waits for
// a connection to that, not for ever, and how long it waited is known.
func TestALargePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := sparsePool(sparseAbove + 1)
		send := func(b []byte, to string) {
			t.Helper()
			if _, err := s.WriteToAddress(b, memberlist.Address{Name: to}); err != nil {
				t.Fatal(err)
			}
		}
		send(newsMessage(), "m0") // nobody is connected: it is dialled
		w.connected["m1"] = true
		send(newsMessage(), "m0")
		send(newsMessage(), "m1")
		send(probeMessage(), "m1")
		if got := w.took(); !slices.Equal(got, []string{"m0", "m1", "m1", "m1"}) {
			t.Errorf("sent to %v", got)
		}
		w.dials["m2"] = 300 * time.Millisecond
		send(probeMessage(), "m2")
		send(probeMessage(), "m3") // which nobody reaches
		if got := w.took(); len(got) > 0 {
			t.Errorf("sent to %v before there is a connection", got)
		}
		<-time.After(301 * time.Millisecond)
		if got := w.took(); !slices.Equal(got, []string{"m2"}) || s.waitedFor("m2") != 300*time.Millisecond {
			t.Errorf("sent to %v, waited %v", got, s.waitedFor("m2"))
		}
		w.connected["m2"] = true
		send(probeMessage(), "m2")
		if got := w.took(); !slices.Equal(got, []string{"m2"}) || s.waitedFor("m2") != 0 {
			t.Errorf("sent to %v, waited %v", got, s.waitedFor("m2"))
		}
		<-time.After(dialMost)
		if got := w.took(); len(got) > 0 || len(s.room) > 0 {
			t.Errorf("sent to %v, %d wait", got, len(s.room))
		}
		for range 2 * maxWaiting {
			send(probeMessage(), "m3")
		}
		if got := w.took(); len(got) != maxWaiting || len(s.room) != maxWaiting {
			t.Errorf("%d are not waited with, %d are", len(got), len(s.room))
		}
		if err := s.Shutdown(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// News goes to whom it did not go a moment ago, as long as there are others.
func TestNewsGoesToOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := sparsePool(sparseAbove + 1)
		for i := range 2 * toldLately {
			w.connected[fmt.Sprint("c", i)] = true
		}
		send := func(b []byte, to string) {
			t.Helper()
			if _, err := s.WriteToAddress(b, memberlist.Address{Name: to, Addr: to}); err != nil {
				t.Fatal(err)
			}
		}
		send(newsMessage(), "c7") // one that is connected
		for range 4 * toldLately {
			send(newsMessage(), "m1")
		}
		got := w.took()
		for i, to := range got {
			if i > 0 && slices.Contains(got[max(0, i-toldLately):i], to) {
				t.Fatalf("message %d goes to %s again: %v", i, to, got[:i])
			}
		}
		w.mu.Lock()
		w.connected = map[string]bool{"c1": true}
		w.mu.Unlock()
		send(newsMessage(), "m1")
		send(newsMessage(), "m1")
		if got := w.took(); !slices.Equal(got, []string{"c1", "c1"}) {
			t.Errorf("with one connection it goes to %v", got)
		}
	})
}

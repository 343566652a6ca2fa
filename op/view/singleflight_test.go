package view

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

func reading() *op.Read[op.Text, op.Text] {
	return &op.Read[op.Text, op.Text]{Name: "test.read", Authorize: func(rules.Authorizer, *op.Text) error { return nil }}
}

// shared is reading of results of which only another content is news.
func shared() *op.Read[op.Text, op.Text] {
	o := reading()
	o.Name, o.Shared = "test.shared", true
	return o
}

// source answers a wait when told to, and anything else at once.
type source struct {
	waits   atomic.Int64
	running atomic.Int64
	news    chan string

	mu    sync.Mutex
	now   string
	index uint64
}

// becomes is a change that nobody is told of.
func (s *source) becomes(text string, index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.index = text, index
}

// Do implements op.Caller.
func (s *source) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if call.Header.MinIndex == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return op.NewReply(op.Meta{Index: s.index}, &op.Text{Text: s.now}), nil
	}
	s.waits.Add(1)
	s.running.Add(1)
	defer s.running.Add(-1)
	select {
	case text := <-s.news:
		s.becomes(text, call.Header.MinIndex+1)
		return op.NewReply(op.Meta{Index: call.Header.MinIndex + 1}, &op.Text{Text: text}), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func stop(t *testing.T, w *SingleFlight) {
	t.Helper()
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestManyWaitAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{news: make(chan string)}
		w := NewSingleFlight(s)
		defer stop(t, w)
		o := reading()
		var got atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				text, meta, err := o.Call(t.Context(), w, op.Header{MinIndex: 5, MaxWait: time.Minute}, &op.Text{Text: "a"})
				if err == nil && text.Text == "new" && meta.Index == 6 {
					got.Add(1)
				}
			})
		}
		for _, other := range []op.Header{{MinIndex: 6}, {MinIndex: 5, Datacenter: "dc2"}, {MinIndex: 5, Token: "t"}, {MinIndex: 5, Consistency: op.Stale}, {MinIndex: 5, Near: "n"}} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, _, err := o.Call(ctx, w, other, &op.Text{Text: "a"}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%+v shared another's call: %v", other, err)
				}
			})
		}
		synctest.Wait()
		if n := s.waits.Load(); n != 6 {
			t.Errorf("%d calls for one shared and five of their own", n)
		}
		<-time.After(2 * time.Second) // the five have given up
		synctest.Wait()
		if n := s.running.Load(); n != 1 {
			t.Errorf("%d calls run on when nobody waits for them, want only the shared one", n)
		}
		s.news <- "new"
		wg.Wait()
		if got.Load() != 1000 {
			t.Errorf("%d of 1000 got the answer", got.Load())
		}
	})
}

// late is a caller whose answers are read and then lie on the way.
type late struct {
	source
	read chan struct{}
}

func (l *late) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	reply, err := l.source.Do(ctx, call)
	if call.Header.MinIndex > 0 {
		l.read <- struct{}{}
		<-l.read
	}
	return reply, err
}

// Who joins a wait whose answer is on its way gets nothing from before it
// asked, unless it asks for what may be stale.
func TestAnAnswerOnItsWayIsNotForWhoComesLater(t *testing.T) {
	for mode, want := range map[op.Consistency]string{op.Default: "newer", op.Consistent: "newer", op.Stale: "new"} {
		synctest.Test(t, func(t *testing.T) {
			l := &late{source: source{news: make(chan string)}, read: make(chan struct{})}
			w := NewSingleFlight(l)
			defer stop(t, w)
			o := reading()
			var wg sync.WaitGroup
			ask := func(check func(text string)) {
				wg.Go(func() {
					text, _, err := o.Call(t.Context(), w, op.Header{MinIndex: 5, MaxWait: time.Minute, Consistency: mode}, &op.Text{})
					if err != nil {
						t.Error(err)
						return
					}
					check(text.Text)
				})
			}
			ask(func(string) {})
			l.news <- "new"
			<-l.read
			l.becomes("newer", 7)
			ask(func(text string) {
				if text != want {
					t.Errorf("mode %v: got %q, want %q", mode, text, want)
				}
			})
			synctest.Wait()
			l.read <- struct{}{}
			wg.Wait()
		})
	}
}

func TestEachWaitsItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{news: make(chan string), now: "current", index: 1}
		w := NewSingleFlight(s)
		defer stop(t, w)
		o := reading()
		var wg sync.WaitGroup
		wg.Go(func() {
			text, _, err := o.Call(t.Context(), w, op.Header{MinIndex: 5, MaxWait: time.Hour}, &op.Text{})
			if err != nil || text.Text != "new" {
				t.Errorf("long wait: %v %v", text, err)
			}
		})
		synctest.Wait()
		start := time.Now()
		text, _, err := o.Call(t.Context(), w, op.Header{MinIndex: 5, MaxWait: 16 * time.Second}, &op.Text{})
		if took := time.Since(start); err != nil || text.Text != "current" || took < 16*time.Second || took > 17*time.Second {
			t.Errorf("short wait: %v %v after %s", text, err, took)
		}
		s.news <- "new"
		wg.Wait()
	})
}

func TestWhoGivesUpLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{news: make(chan string)}
		w := NewSingleFlight(s)
		defer stop(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { reading().Call(ctx, w, op.Header{MinIndex: 5}, &op.Text{}) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		synctest.Wait()
		if s.running.Load() != 0 || len(w.shared) != 0 {
			t.Errorf("%d calls run, %d are kept", s.running.Load(), len(w.shared))
		}
	})
}

// once is a result of one part.
type once struct{ left bool }

func (o *once) Next() (*op.Reply, error) {
	if !o.left {
		return nil, io.EOF
	}
	o.left = false
	return op.NewReply(op.Meta{}, &op.Text{Text: "part"}), nil
}
func (o *once) Close() {}

// The wait for a long result is shared, the result is not: each caller gets
// parts of its own.
func TestLongResultsAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		news, waits := make(chan struct{}), 0
		w := NewSingleFlight(op.CallerFunc(func(_ context.Context, c *op.Call) (*op.Reply, error) {
			if c.Take == op.TakeShort {
				if c.Header.MinIndex > 0 {
					waits++
					<-news
				}
				return nil, op.Errorf(op.CodeLong, "long")
			}
			if c.Header.MinIndex > 0 || !c.Long {
				t.Errorf("asks for parts with %+v, long %v", c.Header, c.Long)
			}
			return op.ReplyInParts(op.Meta{Index: 8}, &once{true}), nil
		}))
		defer stop(t, w)
		o := reading()
		got := make(chan string, 3)
		for range cap(got) {
			go func() {
				l, err := o.InParts(t.Context(), w, op.Header{MinIndex: 7}, &op.Text{})
				if err != nil {
					got <- err.Error()
					return
				}
				defer l.Close()
				for part := range l.All() {
					got <- part.Text
				}
			}()
		}
		synctest.Wait()
		close(news)
		for range cap(got) {
			if text := <-got; text != "part" {
				t.Error(text)
			}
		}
		if waits != 1 {
			t.Errorf("%d waits, want one for all", waits)
		}
	})
}

package view

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
)

func TestWaitingForAChangeOnAView(t *testing.T) {
	for _, h := range []op.Header{{Consistency: op.Cached}, {Consistency: op.Default}, {Consistency: op.Stale}} {
		views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
			o.set("a", "1", 5)
			h.Datacenter, h.MinIndex, h.MaxWait = "dc2", 5, time.Minute
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					text, meta, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"})
					if err != nil || text.Text != "2" || meta.Index != 6 || meta.Consistency != h.Consistency {
						t.Errorf("%v: %v %+v %v", h.Consistency, text, meta, err)
					}
				})
			}
			<-time.After(10 * time.Second)
			o.set("a", "2", 6)
			all.Wait()
			if o.direct.Load() != 0 || o.begun.Load() != 1 {
				t.Errorf("%v: %d calls, %d streams for 100 who waited", h.Consistency, o.direct.Load(), o.begun.Load())
			}
			begin := time.Now()
			h.MinIndex = 6
			text, _, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"})
			if took := time.Since(begin); err != nil || text.Text != "2" || took < time.Minute || took > 65*time.Second {
				t.Errorf("%v: a wait that is over: %v %v after %s", h.Consistency, text, err, took)
			}
		})
	}
}

// A read that waits is promised nothing older than its question: what was pushed
// before, or a moment after it came, may be.
func TestAReadThatJustCameIsAskedOfTheOwner(t *testing.T) {
	views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		holds(t, v, "a", "1", 0, 0)
		h := op.Header{Datacenter: "dc2", MinIndex: 4, MaxWait: time.Minute}
		if _, _, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"}); err != nil || o.direct.Load() != 1 || o.last.Load().MinIndex != 4 {
			t.Errorf("%v, %d calls", err, o.direct.Load())
		}
		h.MinIndex = 5
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"}); err != nil {
				t.Error(err)
			}
		})
		<-time.After(settled / 2)
		o.set("a", "2", 6)
		all.Wait()
		if o.direct.Load() != 2 {
			t.Errorf("%d calls, want one for each of two reads", o.direct.Load())
		}
		// What cannot be followed is asked as if there were no views.
		h.MinIndex = 6
		all.Go(func() {
			if _, _, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"}); op.CodeOf(err) != op.CodeUnreachableDatacenter {
				t.Error(err)
			}
		})
		<-time.After(time.Minute / 2)
		o.cut(unreachable)
		all.Wait()
	})
}

func TestWhoGivesUpWaitingIsFree(t *testing.T) {
	views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := reading().Call(ctx, v, op.Header{Datacenter: "dc2", MinIndex: 5}, &op.Text{Text: "a"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-time.After(dropAfter + 2*sweepEvery)
		if n, _ := kept(v); n != 0 {
			t.Errorf("%d views are kept for nobody", n)
		}
	})
}

func TestSubscribersThatInsistGetWhatIsCurrent(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		ended := make(chan error, 1)
		var all sync.WaitGroup
		all.Go(func() {
			h := op.Header{Datacenter: "dc2", MustCurrent: true}
			ended <- v.Subscribe(t.Context(), op.NewCall(reading(), h, &op.Text{Text: "a"}), func(*op.Reply) error { return nil })
		})
		<-time.After(time.Minute)
		o.cut(unreachable)
		<-time.After(silentAfter + 2*op.Heartbeat)
		select {
		case err := <-ended:
			if op.CodeOf(err) != op.CodeNoLeader {
				t.Error(err)
			}
		default:
			t.Error("it goes on with what is old")
		}
		all.Wait()
	})
}

// Who waited on a view that is of no use any more waits elsewhere for what is left
// of its time: a client gives up soon after the time it asked for.
func TestAWaitIsNotBegunAnew(t *testing.T) {
	for _, c := range []struct {
		name  string
		h     op.Header
		spoil func(o *owner)
		after time.Duration // when it is spoiled
		most  time.Duration // that the owner is asked to wait
	}{
		{"cut", op.Header{}, func(o *owner) { o.change(func() { o.err = errFull }) }, 40 * time.Second, 20 * time.Second},
		{"old", op.Header{Consistency: op.Cached, MaxAge: 5 * time.Second}, func(o *owner) { o.change(func() { o.behind = time.Minute }) }, 10 * time.Second, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
				o.set("a", "1", 5)
				holds(t, v, "a", "1", 0, 0)
				c.h.Datacenter, c.h.MinIndex, c.h.MaxWait = "dc2", 5, time.Minute
				var all sync.WaitGroup
				all.Go(func() {
					if _, _, err := reading().Call(t.Context(), v, c.h, &op.Text{Text: "a"}); err != nil && op.CodeOf(err) != op.CodeBusy {
						t.Errorf("%+v: %v", c.h, err)
					}
				})
				<-time.After(c.after)
				c.spoil(o)
				all.Wait()
				if last := o.last.Load(); last == nil || last.MinIndex != 0 && (last.MaxWait <= 0 || last.MaxWait > c.most) {
					t.Errorf("%+v: the owner is asked with %+v", c.h, last)
				}
			})
		})
	}
}

// A source that has no room, or serves no such result, is not asked again for each
// question: those are answered without a view for a while.
func TestWhatCannotBeFollowedIsNotTriedForEachQuestion(t *testing.T) {
	for _, code := range []op.Code{op.CodeBusy, op.CodeTooLarge, op.CodeUnsupported} {
		t.Run(code.String(), func(t *testing.T) {
			views(t, nil, func(t *testing.T, v *Views, o *owner) {
				o.refuse.Store(op.Errorf(code, "not here"))
				o.set("a", "1", 5)
				for range 100 {
					if text, _, err := get(t, v, op.Header{}, "a"); err != nil || text != "1" || o.last.Load().Consistency != op.Stale {
						t.Fatalf("%q %v", text, err)
					}
				}
				if n := o.begun.Load(); n != 1 || o.direct.Load() != 100 {
					t.Errorf("%d attempts and %d calls for 100 questions", n, o.direct.Load())
				}
				o.refuse.Store(nil)
				<-time.After(negative + time.Millisecond)
				holds(t, v, "a", "1", 0, 0)
				if o.streams.Load() != 1 {
					t.Error("it is not followed when it can be")
				}
			})
		})
	}
}

// A flood of names that nobody has is soon forgotten: each costs its owner a stream.
func TestViewsOfNothingGoSooner(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("some", "1", 5)
		holds(t, v, "some", "1", 0, 0)
		for i := range 100 {
			o.nothing(fmt.Sprint(i), 5)
			holds(t, v, fmt.Sprint(i), "", 0, 0)
		}
		<-time.After(spareFor / 2)
		holds(t, v, "1", "", 0, 0)
		<-time.After(spareFor/2 + sweepEvery + time.Second)
		if n := o.streams.Load(); n != 2 {
			t.Errorf("%d streams, want those of what is there and of what is asked for", n)
		}
	})
}

// A wait that any server may answer is held to how far behind that may be.
func TestAWaitForWhatMayBeOldHasALimit(t *testing.T) {
	views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		o.change(func() { o.contact = 3 * time.Second })
		holds(t, v, "a", "1", 0, 0)
		for limit, want := range map[time.Duration]int64{0: 0, 4 * time.Second: 0, time.Second: 1} {
			o.direct.Store(0)
			h := op.Header{Datacenter: "dc2", Consistency: op.Stale, MaxStale: limit, MinIndex: 4, MaxWait: time.Minute}
			if _, _, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"}); err != nil || o.direct.Load() != want {
				t.Errorf("at most %s behind: %d calls, %v", limit, o.direct.Load(), err)
			}
		}
	})
}

// A server that has not heard its leader since it began says so with the longest time
// there is: nobody may take that for a short one.
func TestASourceThatNeverHeardItsLeader(t *testing.T) {
	views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		o.change(func() { o.contact = op.Longest })
		if _, meta, err := get(t, v, op.Header{}, "a"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
			t.Errorf("a read is answered with %+v, %v", meta, err)
		}
		<-time.After(time.Second)
		if _, meta, err := get(t, v, op.Header{}, "a"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
			t.Errorf("a read is answered with %+v, %v a second later", meta, err)
		}
		h := op.Header{Datacenter: "dc2", MinIndex: 4, MaxWait: time.Minute}
		if _, _, err := reading().Call(t.Context(), v, h, &op.Text{Text: "a"}); err != nil || o.direct.Load() != 1 {
			t.Errorf("a wait is not answered by the owner: %d calls, %v", o.direct.Load(), err)
		}
		o.change(func() { o.contact = 0 })
		synctest.Wait()
		holds(t, v, "a", "1", 0, 0)
	})
}

// A push that says the same as the one before raises the index; who waits and has
// just that content is not told, who comes from elsewhere is.
func TestSameContentIsNoNews(t *testing.T) {
	for name, h := range map[string]op.Header{
		"cached": {Datacenter: "dc2", Consistency: op.Cached}, "default": {Datacenter: "dc2"}, "of several": {Datacenter: op.Nearest, Consistency: op.Cached},
	} {
		t.Run(name, func(t *testing.T) {
			views(t, func(c *Config) { c.BlockingReads = true }, func(t *testing.T, v *Views, o *owner) {
				type answer struct {
					text  string
					index uint64
					took  time.Duration
				}
				wait := func(index uint64) chan answer {
					got := make(chan answer, 1)
					h := h
					h.MinIndex, h.MaxWait = index, time.Minute
					begin := time.Now()
					go func() {
						text, meta, err := shared().Call(t.Context(), v, h, &op.Text{Text: "a"})
						if err != nil {
							t.Error(err)
							text = &op.Text{}
						}
						got <- answer{text.Text, meta.Index, time.Since(begin)}
					}()
					<-time.After(10 * time.Second)
					synctest.Wait()
					return got
				}
				o.set("a", "one", 10)
				same, elsewhere := wait(10), wait(11)
				o.set("a", "one", 12)
				synctest.Wait()
				if len(same) != 0 || len(elsewhere) != 1 {
					t.Fatalf("%d of those with the content are told of it again, %d of those with an index from elsewhere", len(same), len(elsewhere))
				}
				if got := <-elsewhere; got.text != "one" || got.index != 12 && !op.IsFanOut(h.Datacenter) { // any other index of several is news
					t.Errorf("who comes from elsewhere: %+v", got)
				}
				o.set("a", "two", 14)
				if got := <-same; got.text != "two" || got.index != 14 || got.took > 40*time.Second {
					t.Errorf("another content: %+v", got)
				}
				same = wait(14)
				o.set("a", "two", 16)
				if got := <-same; got.text != "two" || got.index != 16 || got.took < time.Minute {
					t.Errorf("at the end of its time: %+v", got)
				}
			})
		})
	}
}

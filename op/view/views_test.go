package view

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
)

// owner is a source of results by the text of the request, and a Caller that
// answers with what they are now.
type owner struct {
	mu      sync.Mutex
	texts   map[string]string
	indexes map[string]uint64
	behind  time.Duration
	contact time.Duration // not heard its leader for
	none    map[string]bool
	err     error         // while the owner cannot be reached
	changed chan struct{} // closed at each change of the above

	streams, begun, pushed, direct atomic.Int64
	last                           atomic.Pointer[op.Header] // of the last direct call
	refuse                         atomic.Pointer[op.Error]  // what subscriptions get
}

func newOwner() *owner {
	return &owner{texts: map[string]string{}, indexes: map[string]uint64{}, none: map[string]bool{}, changed: make(chan struct{})}
}

// change does something and lets the streams look.
func (o *owner) change(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *owner) set(name, text string, index uint64) {
	o.change(func() { o.texts[name], o.indexes[name] = text, index })
}

// nothing is a result that there is none.
func (o *owner) nothing(name string, index uint64) {
	o.change(func() { o.none[name], o.indexes[name] = true, index })
}

func (o *owner) cut(err error) { o.change(func() { o.err = err }) }

func (o *owner) look(name string) (text string, index uint64, behind time.Duration, changed chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.texts[name], max(o.indexes[name], 1), o.behind, o.changed, o.err
}

// Subscribe implements op.Subscriber.
func (o *owner) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	o.begun.Add(1)
	request, err := call.Request()
	if err != nil {
		return err
	}
	if err := o.refuse.Load(); err != nil {
		return err
	}
	name := request.(*op.Text).Text
	o.streams.Add(1)
	defer o.streams.Add(-1)
	beat := time.NewTicker(op.Heartbeat)
	defer beat.Stop()
	for last := uint64(0); ; {
		text, index, behind, changed, err := o.look(name)
		if err != nil {
			return err
		}
		o.mu.Lock()
		contact, none := o.contact, o.none[name]
		o.mu.Unlock()
		m := op.Meta{Age: behind, LastContact: contact, KnownLeader: true, Datacenter: call.Header.Datacenter, Opaque: op.IsFanOut(call.Header.Datacenter)}
		reply := op.NewReply(m, nil)
		if index != last {
			m.Index, last = index, index
			reply = op.NewReply(m, &op.Text{Text: text})
			if none {
				reply = op.NewReply(m, nil)
			}
			o.pushed.Add(1)
		}
		if err := push(reply); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Do implements op.Caller.
func (o *owner) Do(_ context.Context, call *op.Call) (*op.Reply, error) {
	o.direct.Add(1)
	h := call.Header
	o.last.Store(&h)
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	text, index, _, _, err := o.look(request.(*op.Text).Text)
	if err != nil {
		return nil, err
	}
	return op.NewReply(op.Meta{Index: index}, &op.Text{Text: text}), nil
}

// kept counts the views and the datacenters that are remembered.
func kept(v *Views) (views, sites int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.views), len(v.sites)
}

var unreachable = &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: "dc2"}

// views puts some in front of the owner, in a bubble of its own time.
func views(t *testing.T, change func(*Config), run func(t *testing.T, v *Views, o *owner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOwner()
		cfg := Config{Datacenter: "dc1", Next: o, Source: o, Log: logging.Discard(), Registerer: prometheus.NewPedanticRegistry()}
		if change != nil {
			change(&cfg)
		}
		v, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := v.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			n, _ := kept(v)
			if bytes := v.bytes.Load(); bytes != 0 || n != 0 || o.streams.Load() != 0 {
				t.Errorf("%d bytes, %d views and %d streams are left behind", bytes, n, o.streams.Load())
			}
			if problems, err := testutil.GatherAndLint(cfg.Registerer.(*prometheus.Registry)); err != nil || len(problems) > 0 {
				t.Errorf("lint of metrics: %v, %v", problems, err)
			}
		}()
		run(t, v, o)
	})
}

func get(t *testing.T, v *Views, h op.Header, name string) (string, op.Meta, error) {
	t.Helper()
	if h.Datacenter == "" {
		h.Datacenter = "dc2"
	}
	if h.Consistency == op.Default {
		h.Consistency = op.Cached
	}
	text, meta, err := reading().Call(t.Context(), v, h, &op.Text{Text: name})
	if err != nil || text == nil {
		return "", meta, err
	}
	return text.Text, meta, nil
}

// holds fails unless the name has the text, at an age within bounds.
func holds(t *testing.T, v *Views, name, want string, least, most time.Duration) {
	t.Helper()
	text, meta, err := get(t, v, op.Header{}, name)
	if err != nil || text != want || meta.Age < least || meta.Age > most {
		t.Errorf("%s is %q at age %s (%v), want %q at age %s to %s", name, text, meta.Age, err, want, least, most)
	}
}

func TestOneStreamForAllWhoAsk(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { holds(t, v, "a", "1", 0, 0) })
		}
		all.Wait()
		if _, meta, _ := get(t, v, op.Header{}, "a"); !meta.Hit || meta.Index != 5 || meta.Consistency != op.Cached || meta.Datacenter != "dc2" || !meta.KnownLeader {
			t.Errorf("a hit says %+v", meta)
		}
		o.set("a", "2", 6)
		synctest.Wait()
		holds(t, v, "a", "2", 0, 0)
		if o.begun.Load() != 1 || o.pushed.Load() != 2 || o.direct.Load() != 0 {
			t.Errorf("%d streams, %d pushes, %d calls, want 1, 2 and none", o.begun.Load(), o.pushed.Load(), o.direct.Load())
		}
		for _, h := range []op.Header{{Datacenter: "dc3"}, {Near: "n"}} {
			get(t, v, h, "a")
		}
		get(t, v, op.Header{Token: "secret"}, "a") // who asks is none of this view's business
		if o.begun.Load() != 3 {
			t.Errorf("%d streams for three different results", o.begun.Load())
		}
	})
}

func TestEachTokenHasItsOwnViews(t *testing.T) {
	views(t, func(c *Config) { c.ByToken = true }, func(t *testing.T, v *Views, o *owner) {
		get(t, v, op.Header{Token: "a"}, "x")
		get(t, v, op.Header{Token: "b"}, "x")
		if o.begun.Load() != 2 {
			t.Errorf("%d streams for two tokens", o.begun.Load())
		}
	})
}

func TestResultsAreSharedWithWhatIsRendered(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		rendered := 0
		for range 3 {
			_, reply, err := reading().Ask(t.Context(), v, op.Header{Datacenter: "dc2", Consistency: op.Cached}, &op.Text{Text: "a"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reply.Render("x", func() ([]byte, error) { rendered++; return []byte{1}, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if rendered != 1 {
			t.Errorf("rendered %d times", rendered)
		}
	})
}

func TestACutLeavesWhatIsKept(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		holds(t, v, "a", "1", 0, 0)
		<-time.After(time.Minute)
		holds(t, v, "a", "1", 0, 0)
		o.cut(unreachable)
		synctest.Wait()
		<-time.After(10 * time.Second)
		holds(t, v, "a", "1", 10*time.Second, 16*time.Second)
		begun := o.begun.Load()
		for range 50 { // the one who tries on its behalf says how the others would fare
			if _, _, err := get(t, v, op.Header{}, "new"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
				t.Errorf("a new view: %v", err)
			}
		}
		if n := o.begun.Load() - begun; n > 1 {
			t.Errorf("%d attempts for 50 misses", n)
		}
		<-time.After(30 * time.Minute)
		holds(t, v, "a", "1", 30*time.Minute, 31*time.Minute)
		if s := v.Status(); len(s) != 1 || s[0].Datacenter != "dc2" || s[0].Views != 1 || s[0].Streams != 0 || s[0].Oldest < 30*time.Minute || s[0].Bytes == 0 {
			t.Errorf("status %+v", s)
		}
		o.change(func() { o.err, o.texts["a"], o.indexes["a"] = nil, "2", 9 })
		<-time.After(time.Second)
		holds(t, v, "a", "2", 0, 0)
		o.cut(unreachable)
		<-time.After(time.Hour + time.Minute)
		if _, _, err := get(t, v, op.Header{}, "a"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
			t.Errorf("an answer of an hour ago: %v", err)
		}
	})
}

func TestAFirstFailureIsToldAtOnceAndRemembered(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.cut(&op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter"})
		begin := time.Now()
		for i := range 100 {
			if _, _, err := get(t, v, op.Header{}, fmt.Sprint(i)); op.CodeOf(err) != op.CodeUnknownDatacenter {
				t.Fatalf("%v", err)
			}
		}
		if took := time.Since(begin); took > 0 || o.begun.Load() != 1 {
			t.Errorf("100 misses took %s and %d attempts", took, o.begun.Load())
		}
		o.cut(nil)
		<-time.After(negative + time.Millisecond)
		holds(t, v, "1", "", 0, 0)
		<-time.After(2 * sweepEvery)
		if _, n := kept(v); n != 1 {
			t.Errorf("%d datacenters are remembered", n)
		}
	})
}

func TestManyViewsTryAsOneWhileTheDatacenterIsCut(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		const n = 1000
		for i := range n {
			get(t, v, op.Header{}, fmt.Sprint(i))
		}
		o.cut(unreachable)
		<-time.After(5 * time.Second)
		begun := o.begun.Load()
		<-time.After(time.Minute)
		if tries := o.begun.Load() - begun; tries < 60 || tries > 300 {
			t.Errorf("%d attempts in a minute", tries)
		}
		o.cut(nil)
		<-time.After(3 * time.Second)
		if got := o.streams.Load(); got != n {
			t.Errorf("%d of %d are followed 3 s after the cut has healed", got, n)
		}
	})
}

// Not even the view whose turn it is to try keeps the others from trying.
func TestAViewThatGoesWhileItTriesHandsOn(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		holds(t, v, "a", "", 0, 0)
		holds(t, v, "b", "", 0, 0)
		o.cut(unreachable)
		<-time.After(5 * time.Second)
		v.mu.Lock()
		for _, w := range v.views {
			w.site.mu.Lock()
			tries := w.site.prober == w
			w.site.mu.Unlock()
			if tries {
				v.remove(w)
			}
		}
		left := len(v.views)
		v.mu.Unlock()
		o.cut(nil)
		<-time.After(3 * time.Second)
		if left != 1 || o.streams.Load() != 1 {
			t.Errorf("%d views, %d streams, want one that is followed", left, o.streams.Load())
		}
	})
}

func TestAViewDoesNotGoBackForALaggingServer(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "new", 9)
		holds(t, v, "a", "new", 0, 0)
		o.set("a", "old", 7)
		synctest.Wait()
		holds(t, v, "a", "new", 0, 0)
		o.set("a", "newer", 10)
		synctest.Wait()
		holds(t, v, "a", "newer", 0, 0)
		o.set("a", "restored", 3)
		<-time.After(goBackAfter + op.Heartbeat + time.Second)
		holds(t, v, "a", "restored", 0, 0)
	})
}

func TestASourceThatIsBehindMakesOld(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.set("a", "1", 5)
		holds(t, v, "a", "1", 0, 0)
		o.change(func() { o.behind = time.Minute })
		synctest.Wait()
		holds(t, v, "a", "1", time.Minute, 61*time.Second)
		// Who wants nothing old is handed on, in a mode that is not.
		for _, h := range []op.Header{{MustCurrent: true}, {MaxAge: 30 * time.Second}} {
			direct := o.direct.Load()
			if text, meta, err := get(t, v, h, "a"); err != nil || text != "1" || meta.Age != 0 || o.direct.Load() != direct+1 || o.last.Load().Consistency != op.Default {
				t.Errorf("%+v: %q %+v %v", h, text, meta, err)
			}
		}
		if _, meta, err := get(t, v, op.Header{MaxAge: 2 * time.Minute}, "a"); err != nil || meta.Age < time.Minute {
			t.Errorf("%+v %v", meta, err)
		}
		o.change(func() { o.behind = 0 })
		synctest.Wait()
		holds(t, v, "a", "1", 0, 0)
	})
}

func TestViewsAreHandedOnWithTheirAge(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		var second *Views
		var err error
		if second, err = New(Config{Datacenter: "dc1", Next: v, Source: v, ByToken: true, Log: logging.Discard(), Registerer: prometheus.NewRegistry()}); err != nil {
			t.Fatal(err)
		}
		defer second.Stop(t.Context())
		o.set("a", "1", 5)
		holds(t, second, "a", "1", 0, 0)
		o.set("a", "2", 6)
		synctest.Wait()
		holds(t, second, "a", "2", 0, 0)
		o.cut(unreachable)
		<-time.After(20 * time.Second)
		holds(t, second, "a", "2", 20*time.Second, 26*time.Second)
		o.cut(nil)
		<-time.After(time.Second)
		holds(t, second, "a", "2", 0, 0)
		if o.streams.Load() != 1 {
			t.Errorf("%d streams", o.streams.Load())
		}
	})
}

func TestIdleViewsGoUnlessTheyCouldNotBeMadeAgain(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		holds(t, v, "idle", "", 0, 0)
		holds(t, v, "used", "", 0, 0)
		for range 12 {
			<-time.After(time.Minute)
			holds(t, v, "used", "", 0, 0)
		}
		if o.streams.Load() != 1 {
			t.Errorf("%d streams, want that of the one in use", o.streams.Load())
		}
		o.cut(unreachable)
		<-time.After(30 * time.Minute)
		holds(t, v, "used", "", 30*time.Minute, 31*time.Minute)
		<-time.After(time.Hour) // too old to be answered: nothing is lost any more
		if n, _ := kept(v); n != 0 {
			t.Errorf("%d views are kept that nobody would get", n)
		}
	})
}

func TestViewsAreBounded(t *testing.T) {
	views(t, func(c *Config) { c.MaxViews = 64 }, func(t *testing.T, v *Views, o *owner) {
		for i := range 100 { // a flood: what comes too late is not kept
			holds(t, v, fmt.Sprint(i), "", 0, 0)
		}
		if n, _ := kept(v); n != 64 || o.direct.Load() != 36 || o.last.Load().Consistency != op.Stale {
			t.Errorf("%d views, %d calls without one", n, o.direct.Load())
		}
		<-time.After(2 * spareFor)
		holds(t, v, "1", "", 0, 0) // in use: it stays
		for i := range 63 {
			holds(t, v, fmt.Sprint("later", i), "", 0, 0)
		}
		n, _ := kept(v)
		if _, meta, err := get(t, v, op.Header{}, "1"); err != nil || !meta.Hit || n > 64 {
			t.Errorf("the one that was used lately: %+v %v, of %d", meta, err, n)
		}
	})
	views(t, func(c *Config) { c.MaxBytes = 1 << 20 }, func(t *testing.T, v *Views, o *owner) {
		large := string(make([]byte, 100<<10))
		for i := range 10 {
			o.set(fmt.Sprint(i), large, 5)
			if text, _, err := get(t, v, op.Header{}, fmt.Sprint(i)); err != nil || text != large {
				t.Fatalf("%d: %d bytes, %v", i, len(text), err)
			}
		}
		synctest.Wait()
		if n := v.bytes.Load(); n > 1<<20 || n == 0 {
			t.Errorf("%d bytes are held", n)
		}
	})
}

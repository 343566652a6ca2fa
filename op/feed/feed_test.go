package feed

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

func read() *op.Read[op.Text, op.Text] {
	return &op.Read[op.Text, op.Text]{Name: "test.read", Authorize: func(rules.Authorizer, *op.Text) error { return nil }}
}

// source is a Subscriber whose text the test sets.
type source struct {
	mu      sync.Mutex
	text    string
	index   uint64
	lag     time.Duration // not heard its leader for
	refuse  error
	changed chan struct{}
	running atomic.Int64
}

func newSource(text string) *source {
	return &source{text: text, index: 5, changed: make(chan struct{})}
}

func (s *source) set(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Subscribe implements op.Subscriber.
func (s *source) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	s.running.Add(1)
	defer s.running.Add(-1)
	for last := uint64(0); ; {
		s.mu.Lock()
		text, index, lag, refuse, changed := s.text, s.index, s.lag, s.refuse, s.changed
		s.mu.Unlock()
		switch {
		case refuse != nil:
			return refuse
		case lag > op.LeaderSilence && call.Header.MustCurrent:
			return op.ErrNoLeader
		}
		m := op.Meta{LastContact: lag}
		reply := op.NewReply(m, nil)
		if index != last {
			m.Index, last = index, index
			reply = op.NewReply(m, &op.Text{Text: text})
		}
		if err := push(reply); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// endpoint opens one on the loopback network.
func endpoint(t *testing.T, name string, p transport.Protocol) (*transport.Endpoint, transport.Target) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.NewSelfSigned(identity.Peer{Federation: "f", Datacenter: "dc1", NodeID: name, Name: name, Server: name == "server"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := transport.New(transport.Config{Name: name, Conn: conn, Identity: id, Protocols: map[string]transport.Protocol{Protocol: p}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e, transport.Target{Addr: e.Addr().String(), NodeID: name, Name: name}
}

func serving(t *testing.T, name string, s op.Subscriber, known ...op.Operation) (*Server, transport.Target) {
	t.Helper()
	srv := NewServer(s, known, "test", prometheus.NewRegistry())
	_, to := endpoint(t, name, srv.Protocol(nil))
	return srv, to
}

// follower follows in the background and hands over what is pushed.
type follower struct {
	pushed chan *op.Reply
	ended  chan error
	failed chan transport.Target
	end    context.CancelFunc
}

func follows(t *testing.T, via Opener, targets ...transport.Target) *follower {
	t.Helper()
	return followsWith(t, op.Header{}, via, targets...)
}

func followsWith(t *testing.T, h op.Header, via Opener, targets ...transport.Target) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{pushed: make(chan *op.Reply), ended: make(chan error, 1), failed: make(chan transport.Target, 100), end: cancel}
	go func() {
		f.ended <- FollowEach(ctx, via, targets, op.NewCall(read(), h, &op.Text{Text: "a"}), Sink{
			Push: func(r *op.Reply) error {
				select {
				case f.pushed <- r:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			Failed: func(t transport.Target) { f.failed <- t },
		})
	}()
	t.Cleanup(cancel)
	return f
}

const patience = 10 * time.Second

// next returns the text that is pushed next.
func (f *follower) next(t *testing.T) (string, op.Meta) {
	t.Helper()
	for {
		select {
		case r := <-f.pushed:
			if r.Meta.Index == 0 {
				continue
			}
			v, err := r.Result(read())
			if err != nil {
				t.Fatal(err)
			}
			return v.(*op.Text).Text, r.Meta
		case err := <-f.ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(patience):
			t.Fatal("nothing is pushed")
		}
	}
}

func (f *follower) why(t *testing.T) error {
	t.Helper()
	for {
		select {
		case <-f.pushed:
		case err := <-f.ended:
			return err
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestResultsArePushedUntilTheFollowerGoes(t *testing.T) {
	s := newSource("1")
	srv, to := serving(t, "a", s, read())
	via, _ := endpoint(t, "c", Dial())
	f := follows(t, via, to)
	if text, meta := f.next(t); text != "1" || meta.Index != 5 {
		t.Errorf("%q %+v", text, meta)
	}
	s.set(func() { s.text, s.index = "2", 6 })
	if text, _ := f.next(t); text != "2" {
		t.Errorf("%q", text)
	}
	if n := testutil.ToFloat64(srv.metrics.subscriptions); n != 1 {
		t.Errorf("%v subscriptions are counted", n)
	}
	f.end()
	if err := f.why(t); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(t, "the owner ends it", func() bool { return s.running.Load() == 0 && testutil.ToFloat64(srv.metrics.subscriptions) == 0 })
}

// Only what another server passes on goes to the source for that: a client agent may say
// what it likes.
func TestWhatServersPassOnHasItsOwnSource(t *testing.T) {
	srv, to := serving(t, "a", newSource("filtered"), read())
	srv.Relay(newSource("whole"))
	server, _ := endpoint(t, "server", Dial())
	client, _ := endpoint(t, "client", Dial())
	for _, c := range []struct {
		name string
		via  Opener
		h    op.Header
		want string
	}{
		{"a server that passes on", server, op.Header{Relayed: true}, "whole"},
		{"a server for itself", server, op.Header{}, "filtered"},
		{"a client agent", client, op.Header{Relayed: true}, "filtered"},
	} {
		if text, _ := followsWith(t, c.h, c.via, to).next(t); text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

// While a follower takes its time the owner sends nothing more than fits on the
// way, and then the newest.
func TestASlowFollowerGetsTheNewest(t *testing.T) {
	large := make([]byte, 4<<20) // more than the windows of a stream
	s := newSource(string(large))
	_, to := serving(t, "a", s, read())
	via, _ := endpoint(t, "c", Dial())
	f := follows(t, via, to)
	f.next(t)
	for i := range 50 {
		s.set(func() { large[0] = byte(i); s.text, s.index = string(large), uint64(6+i) })
	}
	got := 0
	for {
		text, meta := f.next(t)
		if got++; meta.Index == 55 {
			if text[0] != 49 {
				t.Error("the newest index comes with something else")
			}
			break
		}
	}
	if got > 10 {
		t.Errorf("%d of 50 results were sent to one who did not take them", got)
	}
}

func TestWhoCannotServeIsPassedOver(t *testing.T) {
	via, _ := endpoint(t, "c", Dial())
	unsupported, busy, good := newSource(""), newSource(""), newSource("here")
	busy.refuse = op.Errorf(op.CodeBusy, "too many")
	_, a := serving(t, "a", unsupported)
	_, b := serving(t, "b", busy, read())
	_, d := serving(t, "d", good, read())
	// Nobody listens at the first.
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	gone := transport.Target{Addr: dead.LocalAddr().String(), NodeID: "gone", Name: "gone"}
	f := follows(t, via, gone, a, b, d)
	if text, _ := f.next(t); text != "here" {
		t.Errorf("%q", text)
	}
	if to := <-f.failed; to != gone {
		t.Errorf("%s counts as failed", to)
	}
	good.set(func() { good.refuse = op.ErrStopping })
	if err := f.why(t); op.CodeOf(err) != op.CodeStopping {
		t.Error(err)
	}
	for _, c := range []struct {
		targets []transport.Target
		want    op.Code
	}{{nil, op.CodeNoServer}, {[]transport.Target{a}, op.CodeUnsupported}, {[]transport.Target{b}, op.CodeBusy}} {
		if err := follows(t, via, c.targets...).why(t); op.CodeOf(err) != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// A server that has lost its leader is followed only if all have.
func TestCurrentServersAreFollowedFirst(t *testing.T) {
	via, _ := endpoint(t, "c", Dial())
	lost, well := newSource("lost"), newSource("well")
	lost.lag = time.Minute
	_, a := serving(t, "a", lost, read())
	_, b := serving(t, "b", well, read())
	if text, _ := follows(t, via, a, b).next(t); text != "well" {
		t.Errorf("%q is followed", text)
	}
	well.set(func() { well.lag = time.Minute })
	if text, meta := follows(t, via, a, b).next(t); text != "lost" || meta.LastContact != time.Minute {
		t.Errorf("%q %+v", text, meta)
	}
}

// A server that takes connections and says nothing is given up in time for a
// resolver to be told.
func TestASilentServerIsGivenUp(t *testing.T) {
	silent := transport.Protocol{Serve: func(ctx context.Context, _ transport.Remote, _ transport.Stream) { <-ctx.Done() }}
	_, a := endpoint(t, "a", silent)
	_, b := endpoint(t, "b", silent)
	via, _ := endpoint(t, "c", Dial())
	begin := time.Now()
	err := follows(t, via, a, b, a, b).why(t)
	if took := time.Since(begin); op.CodeOf(err) != op.CodeLost || took > enough+time.Second {
		t.Errorf("%v after %s", err, took)
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	s := NewServer(newSource(""), nil, "test", prometheus.NewRegistry())
	for range maxOfPeer {
		if err := s.enter("a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.enter("a"); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("one agent: %v", err)
	}
	for i := range maxSubscriptions - maxOfPeer {
		if err := s.enter(string(rune('b' + i%2))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.enter("z"); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("all: %v", err)
	}
	s.leave("a")
	if err := s.enter("z"); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	_, to := serving(t, "a", newSource(""), read())
	via, _ := endpoint(t, "c", Dial())
	for _, b := range [][]byte{{}, {0xff}, []byte("\x09test.read\xc1"), make([]byte, maxRequest+1)} {
		stream, err := via.Open(t.Context(), to, Protocol)
		if err != nil {
			t.Fatal(err)
		}
		err = transport.WriteFrame(stream, b) // it may be refused before it is whole
		var answer []byte
		if err == nil {
			answer, err = transport.ReadFrame(stream, 1<<16)
		}
		if err == nil {
			_, err = op.ReadReply(answer)
		}
		if err == nil {
			t.Errorf("%.20q is taken", b)
		}
		stream.Cancel()
	}
}

// A call that servers would not read says nothing about them.
func TestATooLongCallIsRefusedHere(t *testing.T) {
	_, to := serving(t, "server", newSource("1"), read())
	via, _ := endpoint(t, "client", Dial())
	failed := 0
	err := FollowEach(t.Context(), via, []transport.Target{to, to}, op.NewCall(read(), op.Header{}, &op.Text{Text: string(make([]byte, maxRequest))}),
		Sink{Push: func(*op.Reply) error { return nil }, Failed: func(transport.Target) { failed++ }})
	if op.CodeOf(err) != op.CodeTooLarge || failed != 0 {
		t.Errorf("%v, and %d servers count as lost", err, failed)
	}
}

// What many follow is encoded once: a change of a long result does not cost its
// length again for each of them.
func TestALongResultIsEncodedOnceForAll(t *testing.T) {
	s := NewServer(newSource(""), []op.Operation{read()}, "test", prometheus.NewRegistry())
	var rendered op.Rendered
	text := &op.Text{Text: string(make([]byte, 1<<20))}
	push := func() {
		if err := s.push(&steady{discarding{}}, "test.read", op.Share(op.Meta{Index: 5}, text, &rendered)); err != nil {
			t.Fatal(err)
		}
	}
	push()
	const peers = 64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range peers {
		push()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / peers; each > 128<<10 {
		t.Errorf("a push of a result that is encoded already takes %d bytes", each)
	}
}

// discarding is a stream that takes all.
type discarding struct{ transport.Stream }

func (discarding) SetWriteDeadline(time.Time) error { return nil }
func (discarding) Write(b []byte) (int, error)      { return len(b), nil }

package transport

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/transport/identity"
)

func TestRoundTripCarriesHeadAndBody(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	for _, size := range []int{0, 1, 200, frameChunk - 3, frameChunk + 1, MaxRequest - 4} {
		body := randomBytes(t, size)
		got, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, []byte("head"), body)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(got, append([]byte("head"), body...)) {
			t.Fatalf("%d bytes: the answer is not head and body", size)
		}
	}
	if _, err := a.RoundTrip(t.Context(), to(b), testProtocol, nil, make([]byte, MaxRequest+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a request above the bound: %v", err)
	}
}

// TestAConnectionIsWholeBeforeItIsRegistered: a call may take one from the pool that has
// just been dialled.
func TestAConnectionIsWholeBeforeItIsRegistered(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	known := a.snapshot()[0]
	fresh := a.verified(known.qc, known.protocol, known.remote.Peer)
	s, err := fresh.open(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	s.Cancel()
}

// refusal is one way in which an endpoint a is refused by or refuses b.
type refusal struct {
	name string
	a, b Identity
	want error
}

func TestStrangersAreRefusedWithTheReason(t *testing.T) {
	client := server("a")
	client.Server = false
	foreign := server("a")
	foreign.Federation = "other"
	self, err := identity.NewSelfSigned(server("a"))
	if err != nil {
		t.Fatal(err)
	}
	b := derived(t, testKey(1), server("b"))
	for _, c := range []refusal{
		{"another key", derived(t, testKey(2), server("a")), b, identity.ErrWrongAuthority},
		{"another federation", derived(t, testKey(1), foreign), b, identity.ErrWrongFederation},
		{"no authority", self, b, identity.ErrWrongAuthority},
		{"a client", derived(t, testKey(1), client), b, ErrNotAdmitted},
		{"a stranger who does not look", credulous{self}, b, identity.ErrWrongAuthority},
	} {
		t.Run(c.name, func(t *testing.T) { testRefused(t, c) })
	}
}

// credulous shows one identity and believes every other.
type credulous struct{ Identity }

func (credulous) Verify([][]byte, identity.Direction) (identity.Peer, error) { return server("b"), nil }

func testRefused(t *testing.T, c refusal) {
	var reached atomic.Int64
	var seen lines
	onlyServers := func(cfg *Config) {
		cfg.Protocols = map[string]Protocol{testProtocol: {
			Serve:    func(context.Context, Remote, Stream) { reached.Add(1) },
			Datagram: func(Remote, []byte, time.Time) { reached.Add(1) },
			Admit: func(p identity.Peer) error {
				if !p.Server {
					return errors.New("only servers")
				}
				return nil
			},
		}}
	}
	b := endpoint(t, c.b, onlyServers, logTo(&seen))
	a := endpoint(t, c.a, func(cfg *Config) {
		cfg.Protocols = map[string]Protocol{testProtocol: {Datagram: func(Remote, []byte, time.Time) {}}}
	})
	_, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, []byte("x"))
	if !errors.Is(err, ErrRefused) || !errors.Is(err, c.want) {
		t.Fatalf("error %v, want %v", err, c.want)
	}
	for range 10 {
		if err := a.SendDatagram(to(b), testProtocol, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	// During the pause after a refusal the reason is still told.
	if _, err := a.Open(within(t, 5*time.Second), to(b), testProtocol); !errors.Is(err, ErrRefused) {
		t.Fatalf("second attempt: %v", err)
	}
	eventually(t, 2*time.Second, "a WARN line at the acceptor", func() bool {
		return strings.Contains(seen.String(), "level=WARN")
	})
	if n := strings.Count(seen.String(), "level=WARN"); n > warnBurst {
		t.Fatalf("%d lines for one stranger", n)
	}
	if reached.Load() != 0 {
		t.Fatal("the stranger reached a handler")
	}
}

func TestAnotherNodeAtTheAddressIsRefused(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	for _, target := range []Target{
		{Addr: b.Addr().String(), NodeID: "id-c"},
		{Addr: b.Addr().String(), Name: "c.dc1"},
	} {
		_, err := a.RoundTrip(within(t, 5*time.Second), target, testProtocol, nil, nil)
		if !errors.Is(err, ErrRefused) || !errors.Is(err, ErrWrongNode) {
			t.Errorf("%+v: %v", target, err)
		}
	}
	good := Target{Addr: b.Addr().String(), NodeID: "id-b", Name: "b.dc1"}
	if _, err := a.RoundTrip(within(t, 5*time.Second), good, testProtocol, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestUnknownProtocolIsRefused(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) {
		c.Protocols["only-a/1"] = Protocol{}
	})
	b := endpoint(t, derived(t, testKey(1), server("b")))
	for _, name := range []string{"only-a/1", "nobody/1"} {
		_, err := a.RoundTrip(within(t, 5*time.Second), to(b), name, nil, nil)
		if !errors.Is(err, ErrRefused) || !errors.Is(err, ErrNoProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysRotateWithoutAnInterruption(t *testing.T) {
	idA := derived(t, testKey(1), server("a"))
	idB := derived(t, testKey(1), server("b"))
	b := endpoint(t, idB)
	call := func(id Identity) error {
		a := endpoint(t, id)
		_, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil)
		return err
	}
	for _, step := range []func() error{
		func() error { return idB.SetKeys(testKey(1), testKey(2)) },
		func() error { return idA.SetKeys(testKey(1), testKey(2)) },
		func() error { return idB.SetKeys(testKey(2), testKey(1)) },
		func() error { return idA.SetKeys(testKey(2), testKey(1)) },
		func() error { return idB.SetKeys(testKey(2)) },
		func() error { return idA.SetKeys(testKey(2)) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if err := call(idA); err != nil {
			t.Fatal(err)
		}
	}
	if err := call(derived(t, testKey(1), server("late"))); !errors.Is(err, identity.ErrWrongAuthority) {
		t.Fatalf("the removed key: %v", err)
	}
}

func TestNobodyThereIsUnreachableAndFailsFastAfterwards(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.HandshakeTimeout = 200 * time.Millisecond })
	hole := listenUDP(t, "127.0.0.1:0")
	defer hole.Close()
	target := Target{Addr: hole.LocalAddr().String()}
	for range 4 {
		_, err := a.RoundTrip(within(t, 5*time.Second), target, testProtocol, nil, nil)
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if _, err := a.RoundTrip(within(t, 5*time.Second), target, testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Fatalf("a call during the pause took %v", took)
	}
	ctx := within(t, 20*time.Millisecond)
	<-ctx.Done()
	if _, err := a.RoundTrip(ctx, Target{Addr: "127.0.0.1:9"}, testProtocol, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the caller's own deadline: %v", err)
	}
}

func TestCallEndsWithItsContextAndFreesTheStream(t *testing.T) {
	gone := make(chan struct{}, 1)
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) {
		c.Protocols[testProtocol] = Protocol{Serve: func(ctx context.Context, _ Remote, _ Stream) {
			<-ctx.Done()
			gone <- struct{}{}
		}}
	})
	a := endpoint(t, derived(t, testKey(1), server("a")))
	_, err := a.RoundTrip(within(t, 100*time.Millisecond), to(b), testProtocol, nil, []byte("x"))
	if !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(2 * time.Second):
		t.Fatal("the handler was not told that the caller is gone")
	}
	eventually(t, 2*time.Second, "no stream in flight", func() bool {
		return a.Stats()[0].InFlight == 0 && b.served.Load() == 0
	})
}

func TestMoreCallsThanStreamSlotsAllEnd(t *testing.T) {
	// Each stream frees its slot on both sides, or the 4,097th call of a
	// connection would wait for ever.
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.PoolSize = 1 })
	b := endpoint(t, derived(t, testKey(1), server("b")))
	ctx := within(t, 15*time.Second)
	for i := range maxStreams + 100 {
		if _, err := a.RoundTrip(ctx, to(b), testProtocol, nil, nil); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestPoolGrowsToItsSizeAndSpreads(t *testing.T) {
	hold := make(chan struct{})
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) {
		c.Protocols[testProtocol] = Protocol{Serve: func(ctx context.Context, r Remote, s Stream) { <-hold; echo(ctx, r, s) }}
	})
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.PoolSize = 3 })
	const calls = 40
	errs := make(chan error, calls)
	for i := range calls {
		go func() {
			_, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, nil)
			errs <- err
		}()
		eventually(t, 5*time.Second, "call in flight", func() bool {
			s := a.Stats()
			return len(s) == 1 && s[0].InFlight == i+1
		})
	}
	if n := a.Stats()[0].Connections; n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	for _, c := range a.snapshot() {
		if n := c.inFlight.Load(); n < calls/3-growAt || n > calls/3+growAt+1 {
			t.Errorf("a connection carries %d of %d calls", n, calls)
		}
	}
	close(hold)
	for range calls {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestPeerThatWasDialledCallsBackOnTheSameConnection(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	ctx := within(t, 5*time.Second)
	if _, err := a.RoundTrip(ctx, to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RoundTrip(ctx, to(a), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(a.snapshot()); n != 1 {
		t.Fatalf("%d connections, want the one that a made", n)
	}
}

func TestRestartedPeerIsReachedAgain(t *testing.T) {
	key := [32]byte{1, 2, 3}
	a := endpoint(t, derived(t, testKey(1), server("a")))
	withKey := func(c *Config) { c.StatelessResetKey = &key }
	crashed := make(chan struct{})
	conn := listenUDP(t, "127.0.0.1:0")
	b := endpoint(t, derived(t, testKey(1), server("b")), withKey, func(c *Config) {
		c.Conn = &deafConn{PacketConn: conn, deaf: crashed}
	})
	addr := b.Addr().String()
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	close(crashed) // nothing more leaves the socket: the peer is not told
	closeEndpoint(t, b)
	endpoint(t, derived(t, testKey(1), server("b")), withKey, func(c *Config) { c.Conn = listenUDP(t, addr) })
	start := time.Now()
	eventually(t, 5*time.Second, "the restarted peer answers", func() bool {
		_, err := a.RoundTrip(within(t, time.Second), Target{Addr: addr}, testProtocol, nil, nil)
		return err == nil
	})
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v: the stateless reset was of no use", took)
	}
}

func TestSilentConnectionIsNotChosenAgain(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.PoolSize = 2 })
	frozen := make(chan struct{})
	conn := listenUDP(t, "127.0.0.1:0")
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) { c.Conn = &deafConn{PacketConn: conn, deaf: frozen} })
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	close(frozen)
	p, err := a.path(to(b), testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	chosen := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		best, _, _ := p.pick()
		return best != nil
	}
	for range 2 { // a packet that was under way may come during the first
		if _, err := a.RoundTrip(within(t, 200*time.Millisecond), to(b), testProtocol, nil, nil); !errors.Is(err, ErrLost) {
			t.Fatal(err)
		}
		if !chosen() {
			return
		}
	}
	t.Fatal("the silent connection is chosen again and again")
}

func TestCallsToADeafPeerEndEarly(t *testing.T) {
	t.Parallel()
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.PoolSize = 1 })
	frozen := make(chan struct{})
	conn := listenUDP(t, "127.0.0.1:0")
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) { c.Conn = &deafConn{PacketConn: conn, deaf: frozen} })
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	close(frozen)
	start := time.Now()
	_, err := a.RoundTrip(within(t, 30*time.Second), to(b), testProtocol, nil, nil)
	if took := time.Since(start); !errors.Is(err, ErrLost) || took < deafAfter || took > 2*deafAfter {
		t.Errorf("%v after %s", err, took)
	}
}

func TestAnAnswerMayTakeLongerThanSilence(t *testing.T) {
	t.Parallel()
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) {
		c.KeepAlive = time.Minute // nothing but the answer is sent
		c.Protocols[testProtocol] = Protocol{Serve: func(ctx context.Context, _ Remote, s Stream) {
			if _, err := ReadFrame(s, 10); err != nil {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(deafAfter + time.Second):
				if err := WriteFrame(s, []byte("late")); err != nil {
					s.Cancel()
				}
			}
		}}
	})
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.KeepAlive = time.Minute })
	if answer, err := a.RoundTrip(within(t, 30*time.Second), to(b), testProtocol, nil, nil); err != nil || string(answer) != "late" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestCallsThatAreCancelledCastNoDoubtOnTheConnection(t *testing.T) {
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) {
		c.Protocols[testProtocol] = Protocol{Serve: func(ctx context.Context, from Remote, s Stream) {
			if b, err := ReadFrame(s, 10); err == nil && len(b) > 0 {
				<-ctx.Done()
				return
			}
			if err := WriteFrame(s); err != nil {
				s.Cancel()
			}
		}}
	})
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.PoolSize = 1 })
	for range 20 {
		slow, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := a.RoundTrip(slow, to(b), testProtocol, nil, []byte("wait"))
			ended <- err
		}()
		eventually(t, 5*time.Second, "the slow call is served", func() bool { return b.served.Load() == 1 })
		cancel()
		if err := <-ended; !errors.Is(err, ErrLost) || !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the slow call is over", func() bool { return b.served.Load() == 0 })
	}
	if n := len(a.snapshot()); n != 1 {
		t.Fatalf("%d connections after cancelled calls, want the first", n)
	}
}

func TestDatagramsArriveAndLargeOnesAreRefused(t *testing.T) {
	got := make(chan []byte, 64)
	take := func(c *Config) {
		c.Protocols[testProtocol] = Protocol{Serve: echo, Datagram: func(from Remote, b []byte, at time.Time) {
			if from.Peer.Name == "" || time.Since(at) > time.Second {
				return
			}
			select {
			case got <- b:
			default:
			}
		}}
	}
	a := endpoint(t, derived(t, testKey(1), server("a")), take)
	b := endpoint(t, derived(t, testKey(1), server("b")), take)
	if err := a.SendDatagram(to(b), testProtocol, make([]byte, MaxDatagram+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("above the bound: %v", err)
	}
	want := randomBytes(t, MaxDatagram)
	eventually(t, 5*time.Second, "a datagram of the largest size", func() bool {
		if err := a.SendDatagram(to(b), testProtocol, want); err != nil {
			t.Fatal(err)
		}
		select {
		case b := <-got:
			return bytes.Equal(b, want)
		default:
			return false
		}
	})
}

func TestDatagramsNeverBlock(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) {
		c.Protocols[testProtocol] = Protocol{Datagram: func(Remote, []byte, time.Time) {}}
	})
	hole := listenUDP(t, "127.0.0.1:0")
	defer hole.Close()
	start := time.Now()
	for range 10_000 {
		if err := a.SendDatagram(Target{Addr: hole.LocalAddr().String()}, testProtocol, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Fatalf("10,000 datagrams to nobody took %v", took)
	}
	if n := testutil.ToFloat64(a.metrics.datagrams.WithLabelValues("connecting")); n != 10_000 {
		t.Fatalf("%v counted as dropped", n)
	}
}

func TestCloseEndsCallsInFlight(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	started := make(chan struct{})
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) {
		c.Protocols[testProtocol] = Protocol{Serve: func(ctx context.Context, _ Remote, _ Stream) { close(started); <-ctx.Done() }}
	})
	errs := make(chan error, 1)
	go func() {
		_, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, nil)
		errs <- err
	}()
	<-started
	closeEndpoint(t, b)
	if err := <-errs; !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	closeEndpoint(t, a)
	if _, err := a.RoundTrip(within(t, time.Second), to(b), testProtocol, nil, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestRefusedWhileTheEndpointServesTooMany(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	b.served.Store(maxServed)
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	b.served.Store(0)
}

func TestIdleConnectionsAreClosedAndForgotten(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	a.dropIdle(time.Now())
	if len(a.snapshot()) != 1 {
		t.Fatal("a connection in use was closed")
	}
	later := time.Now().Add(time.Hour)
	eventually(t, 2*time.Second, "the idle connection is gone on both sides", func() bool {
		a.dropIdle(later)
		return len(a.snapshot()) == 0 && len(b.snapshot()) == 0 && len(a.Stats()) == 0
	})
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestMetricsTellProtocolAndDatacenter(t *testing.T) {
	reg := prometheus.NewRegistry()
	a := endpoint(t, derived(t, testKey(1), server("a")), func(c *Config) { c.Registerer = reg })
	b := endpoint(t, derived(t, testKey(1), server("b")))
	if n := testutil.CollectAndCount(a.metrics.failures); n != len(reasons())+3 {
		t.Errorf("%d series of failures exist at zero", n)
	}
	for range 3 {
		if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := testutil.ToFloat64(a.metrics.streams.WithLabelValues(testProtocol, "dc1", "out")); n != 3 {
		t.Errorf("%v streams counted", n)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	for _, name := range []string{"round_trip_seconds", "connections", "packets_sent_total", "bytes_received_total"} {
		if values["legate_quic_"+name] <= 0 {
			t.Errorf("%s is %v", name, values["legate_quic_"+name])
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint of the metrics: %v %v", problems, err)
	}
}

// Who ended a protocol and begins it again reaches its peers at once.
func TestProtocolThatEndedHereIsDialledAgainAtOnce(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	for range 20 {
		s, err := a.Open(t.Context(), to(b), testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		s.Cancel()
		a.Remove(testProtocol)
		if err := a.Handle(testProtocol, Protocol{Serve: echo}); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Second, "the connection is forgotten", func() bool { return len(a.snapshot()) == 0 })
	}
}

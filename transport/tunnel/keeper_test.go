package tunnel

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

const gatewayAt = "192.0.2.1:8302"

// stage is a keeper whose gateway is played by the test.
type stage struct {
	*Keeper
	udp, tcp atomic.Bool // what gets through
	probes   atomic.Int64

	mu    sync.Mutex
	began time.Time
	news  []string
	far   []net.Conn
}

func newStage() *stage {
	s := &stage{began: time.Now()}
	s.Keeper = NewKeeper(KeeperConfig{Board: relay.NewBoard(), Port: func(string) int { return 443 },
		Changed: func(_ string, tcp bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.news = append(s.news, fmt.Sprintf("%s %v", time.Since(s.began), tcp))
		},
		probe: func(context.Context, *net.UDPAddr, net.IP) bool { s.probes.Add(1); return s.udp.Load() },
		dial: func(context.Context, Identity, string, net.IP) (net.Conn, identity.Peer, error) {
			if !s.tcp.Load() {
				return nil, identity.Peer{}, errNoProtocol
			}
			near, far := net.Pipe()
			s.mu.Lock()
			s.far = append(s.far, far)
			s.mu.Unlock()
			go func() { // reads and sends nothing but signs of life
				b := make([]byte, 1<<16)
				for {
					if _, err := far.Read(b); err != nil {
						return
					}
					_, _ = far.Write([]byte{0, 0})
				}
			}()
			return near, identity.Peer{}, nil
		}})
	return s
}

func (s *stage) after(t *testing.T, d time.Duration, want ...string) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.news, want) {
		t.Errorf("after %s: %q, not %q", time.Since(s.began), s.news, want)
	}
}

// UDP that works from the start is not left, and asked once.
func TestWhereUDPWorksThereIsNoTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.udp.Store(true)
		s.tcp.Store(true)
		for range 10 {
			s.Watch(gatewayAt)
			s.after(t, time.Second)
		}
		if n := s.probes.Load(); n != 1 {
			t.Errorf("UDP was tried %d times", n)
		}
		_ = s.Stop(t.Context())
	})
}

// The tunnel is taken when UDP fails, left after two answers in a row, and after twice as many
// when UDP fails again soon.
func TestATunnelIsTakenAndLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.tcp.Store(true)
		s.Watch(gatewayAt)
		s.after(t, 15*time.Second, "0s true")
		s.udp.Store(true)
		s.after(t, 16*time.Second, "0s true", "30s false")
		s.udp.Store(false)
		s.Doubt(gatewayAt)
		s.after(t, time.Second, "0s true", "30s false", "31s true")
		s.udp.Store(true)
		s.after(t, 38*time.Second, "0s true", "30s false", "31s true")
		s.after(t, 3*time.Second, "0s true", "30s false", "31s true", "1m11s false")
		s.udp.Store(false)
		s.DoubtAt(gatewayAt) // as a connection says it
		s.after(t, time.Second, "0s true", "30s false", "31s true", "1m11s false", "1m13s true")
		_ = s.Stop(t.Context())
	})
}

// A gateway that answers what asks, and nothing else, is reached by the tunnel all the same.
func TestAGatewayThatOnlyAnswersIsDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.udp.Store(true)
		s.tcp.Store(true)
		s.Watch(gatewayAt)
		s.after(t, 4*time.Second)
		s.Doubt(gatewayAt)
		s.after(t, 4*time.Second)
		s.Doubt(gatewayAt)
		s.after(t, 4*time.Second, "8s true")
		_ = s.Stop(t.Context())
	})
}

// A tunnel that breaks is made anew at once; one that does not come about is tried again
// after pauses that grow.
func TestATunnelThatBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.tcp.Store(true)
		s.Watch(gatewayAt)
		s.after(t, time.Second, "0s true")
		s.mu.Lock()
		_ = s.far[0].Close()
		s.mu.Unlock()
		s.after(t, time.Second, "0s true", "1s false", "1s true")
		s.tcp.Store(false)
		s.Renew()
		s.after(t, time.Second, "0s true", "1s false", "1s true", "2s false")
		for range 60 {
			s.Doubt(gatewayAt)
			s.after(t, time.Second, "0s true", "1s false", "1s true", "2s false")
		}
		if n := s.probes.Load(); n > 12 {
			t.Errorf("%d times was it tried", n)
		}
		_ = s.Stop(t.Context())
	})
}

// A gateway that takes tunnels and ends them at once is tried after pauses that grow, and at once
// again after one that lasted.
func TestTunnelsThatKeepBreaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.tcp.Store(true)
		s.Watch(gatewayAt)
		dials := 0
		for range 120 {
			<-time.After(500 * time.Millisecond)
			synctest.Wait()
			s.mu.Lock()
			for ; dials < len(s.far); dials++ {
				_ = s.far[dials].Close()
			}
			s.mu.Unlock()
		}
		if dials < 4 || dials > 8 {
			t.Errorf("%d tunnels were made in a minute", dials)
		}
		<-time.After(2 * lastPause)
		synctest.Wait()
		s.mu.Lock()
		s.news, dials = nil, len(s.far)
		_ = s.far[dials-1].Close()
		s.mu.Unlock()
		synctest.Wait()
		if n := len(s.InUse()); n != 1 {
			t.Errorf("after one that lasted none is made at once")
		}
		_ = s.Stop(t.Context())
	})
}

// newPipe is a tunnel over a pipe, and what is at its other end.
func newPipe(t *testing.T, deliver func([]byte) bool) (*link, *lifecycle.Group, net.Conn) {
	near, far := net.Pipe()
	g := lifecycle.New("test")
	l := newLink(near, identity.Peer{}, newMetrics(nil), deliver)
	if err := l.run(g); err != nil {
		t.Fatal(err)
	}
	return l, g, far
}

// Who sends never waits: a queue that is full drops. Who does not read is given up.
func TestAPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, g, _ := newPipe(t, nil)
		packet := make([]byte, 1200)
		for range 3 * maxQueued / len(packet) {
			l.Send(packet)
		}
		if n := valueOf(t, l.metrics.dropped); n < 200 {
			t.Errorf("%v packets were dropped", n)
		}
		l.Send(make([]byte, relay.MaxPacket+1))
		<-time.After(stuckAfter - time.Millisecond)
		synctest.Wait()
		select {
		case <-l.gone:
			t.Error("it was given up too soon")
		default:
		}
		<-time.After(2 * time.Millisecond)
		synctest.Wait()
		select {
		case <-l.gone:
		default:
			t.Error("it was not given up")
		}
		_ = g.Stop(t.Context())
	})
}

// Who sends nothing is given up, and so is who sends what is no packet.
func TestPeersThatSendNothingOrTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got [][]byte
		l, g, far := newPipe(t, func(b []byte) bool { got = append(got, slices.Clone(b)); return true })
		if _, err := far.Write([]byte{0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd', 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
		<-l.gone
		if l.why != errTooLong || len(got) != 2 || string(got[0]) != "abc" || string(got[1]) != "d" {
			t.Errorf("%q came, and then %v", got, l.why)
		}
		_ = g.Stop(t.Context())

		l, g, far = newPipe(t, nil)
		go func() {
			b := make([]byte, 100)
			for {
				if _, err := far.Read(b); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		<-l.gone
		if d := time.Since(began); d != silentAfter {
			t.Errorf("it was given up after %s: %v", d, l.why)
		}
		_ = g.Stop(t.Context())
	})
}

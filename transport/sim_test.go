package transport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/legate-project/legate/internal/lifecycle"
)

// wire is a simulated network in virtual time: what is measured over it does
// not depend on how busy the machine is. It keeps the order of packets.
type wire struct {
	delay time.Duration // one way
	group *lifecycle.Group

	mu    sync.Mutex
	loss  float64 // each way
	rand  *rand.Rand
	nodes map[string]chan late
}

type late struct {
	due time.Time
	p   simnet.Packet
}

func newWire(t *testing.T, delay time.Duration, loss float64) *wire {
	w := &wire{delay: delay, loss: loss, rand: rand.New(rand.NewPCG(1, 2)), nodes: map[string]chan late{}, group: lifecycle.New("wire")}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.group.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *wire) SendPacket(p simnet.Packet) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rand.Float64() < w.loss {
		return nil
	}
	select {
	case w.nodes[p.To.String()] <- late{time.Now().Add(w.delay), p}:
	default: // a full queue drops
	}
	return nil
}

func (w *wire) AddNode(addr net.Addr, r simnet.PacketReceiver) {
	queue := make(chan late, 100_000)
	w.nodes[addr.String()] = queue
	_ = w.group.Go("deliver", func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case l := <-queue:
				if wait := time.Until(l.due); wait > 0 {
					<-time.After(wait)
				}
				r.RecvPacket(l.p)
			}
		}
	})
}

func (w *wire) conn(ip byte) *simnet.SimConn {
	addr := &net.UDPAddr{IP: net.IPv4(10, 0, 0, ip), Port: 8302}
	c := simnet.NewBlockingSimConn(addr, w)
	w.AddNode(addr, c)
	return c
}

// simulated is what callers saw.
type simulated struct {
	calls         int
	p50, p99, max time.Duration
}

func (s simulated) String() string {
	return fmt.Sprintf("%d calls, p50 %v, p99 %v, max %v", s.calls, s.p50.Round(100*time.Microsecond), s.p99.Round(100*time.Microsecond), s.max.Round(time.Millisecond))
}

// callers call again and again for a time, each one request at a time.
func callers(t *testing.T, n int, d time.Duration, call func(ctx context.Context) error) *simulated {
	out := &simulated{}
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if err := call(t.Context()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	out.calls = len(took)
	if len(took) > 0 {
		out.p50, out.p99, out.max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	}
	return out
}

const bulkTest = "legate-bulk-test/1"

// overWire runs a test with two endpoints over a network of 80 ms round trip:
// small calls on one protocol and long answers on another, as between
// datacenters.
func overWire(t *testing.T, loss float64, run func(t *testing.T, small, bulk func(context.Context) error, a *Endpoint)) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))) // certificates are not valid when virtual time begins
		w := newWire(t, 40*time.Millisecond, loss)
		open := func(name string, ip byte) *Endpoint {
			e, err := New(Config{Identity: derived(t, testKey(1), server(name)), Conn: w.conn(ip), IdleTimeout: 30 * time.Second, Protocols: map[string]Protocol{
				testProtocol: {Lossy: true, PoolSize: 16, Answer: func(_ context.Context, _ Remote, r []byte) []byte { return make([]byte, 110) }},
				bulkTest:     {Grow: 1, Answer: func(_ context.Context, _ Remote, r []byte) []byte { return make([]byte, 200_000) }},
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if err := e.Close(ctx); err != nil {
					t.Error(err)
				}
			})
			return e
		}
		a, b := open("a", 1), open("b", 2)
		ask := func(protocol string) func(context.Context) error {
			return func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				_, err := a.RoundTrip(ctx, to(b), protocol, nil, make([]byte, 70))
				return err
			}
		}
		run(t, ask(testProtocol), ask(bulkTest), a)
	})
}

// What callers of another datacenter see, over 80 ms there and back.
func TestCallsOverALossyNetworkInVirtualTime(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name     string
		loss     float64
		callers  int
		bulk     int // callers of long answers beside
		p50, p99 time.Duration
		least    float64 // a second
		d        time.Duration
	}{
		{"no loss", 0, 64, 0, 81 * ms, 90 * ms, 780, 2 * time.Second},
		{"1 % loss, few callers", 0.01, 4, 0, 84 * ms, 100 * ms, 48, 20 * time.Second},
		{"1 % loss", 0.01, 64, 0, 84 * ms, 100 * ms, 780, 4 * time.Second},
		{"1 % loss, many callers", 0.01, 512, 0, 84 * ms, 325 * ms, 4800, 2 * time.Second}, // p99 is two, three or four round trips
		{"1 % loss, beside bulk", 0.01, 16, 4, 84 * ms, 100 * ms, 190, 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			if raceDetector && c.callers > 16 {
				t.Skip("hundreds of callers take minutes")
			}
			var faults []string
			for range 3 { // now and then losses come in bunches: not three times in a row
				var fault string
				overWire(t, c.loss, func(t *testing.T, small, bulk func(context.Context) error, a *Endpoint) {
					callers(t, c.callers, c.d, small) // the path gets to know its loss
					var beside sync.WaitGroup
					var long *simulated
					beside.Go(func() { long = callers(t, c.bulk, 2*c.d, bulk) })
					start, before := time.Now(), doubled(a)
					out := callers(t, c.callers, c.d, small)
					rate := float64(out.calls) / time.Since(start).Seconds()
					twice := doubled(a) - before
					beside.Wait()
					t.Logf("%v, %.0f/s, %.0f %% on two connections; beside: %v", out, rate, 100*twice/float64(out.calls), long)
					if out.p50 > c.p50 || out.p99 > c.p99 || rate < c.least {
						fault = fmt.Sprintf("want p50 ≤ %v, p99 ≤ %v, ≥ %.0f/s", c.p50, c.p99, c.least)
					}
					if learned := float64(c.d / pairEvery); c.loss == 0 && twice > learned+2 || c.loss > 0 && twice < 2*learned {
						fault = fmt.Sprintf("%v calls went on two connections at %v loss", twice, c.loss)
					}
				})
				if fault == "" {
					return
				}
				faults = append(faults, fault)
			}
			t.Error(faults)
		})
	}
}

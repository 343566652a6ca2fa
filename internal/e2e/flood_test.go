//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/legate-project/legate/internal/proctest"
	"github.com/legate-project/legate/transport/identity"
)

// What strangers may cost an agent, each kind of flood by itself.
const (
	// floodMemory and floodGoroutines are what an agent may have more while it is flooded
	// than before; floodFiles are open files beyond the connections of the flood that it
	// lets in.
	floodMemory     = 96 << 20
	floodGoroutines = 2400
	floodFiles      = 40
	// floodNoise is how much later than without a flood nine of ten answers to the
	// neighbor may come: who floods, the agent and the neighbor share the machine's cores
	// with other tests, and the ends of distributions say what those do.
	floodNoise = 50 * time.Millisecond
	// floodTime is how long each flood lasts, unless LEGATE_FLOOD_TIME says otherwise: then
	// the test has the machine for itself, and the neighbor's time is judged too.
	floodTime = 300 * time.Millisecond
	// strangers is how many addresses each flood comes from.
	strangers = 4
)

// flooded is the agent that strangers flood.
type flooded struct {
	t testing.TB
	h *proctest.Host
	n *node
}

// dial connects as one of the strangers, nil if that is not possible any more.
func (f *flooded) dial(ctx context.Context, network string, port, stranger int) net.Conn {
	d := net.Dialer{Timeout: time.Second}
	ip := net.ParseIP(f.h.Addr(9, 1+stranger%strangers))
	d.LocalAddr = &net.TCPAddr{IP: ip}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: ip}
	}
	var c net.Conn
	err := f.h.Inside(func() (err error) {
		c, err = d.DialContext(ctx, network, net.JoinHostPort(f.n.ip, strconv.Itoa(port)))
		return err
	})
	if err != nil {
		return nil
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return c
}

// hold opens so many connections, has each begin something, and keeps them until the end.
func (f *flooded) hold(ctx context.Context, n, port int, begin func(net.Conn)) {
	for i := range n {
		if ctx.Err() != nil {
			return
		}
		if c := f.dial(ctx, "tcp", port, i); c != nil && begin != nil {
			begin(c)
		}
	}
	<-ctx.Done()
}

// pace calls do so often a second until the end.
func pace(ctx context.Context, each time.Duration, do func(i int)) {
	tick := time.NewTicker(each)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do(i)
		}
	}
}

// deaf is a socket that hears nothing: a handshake over it never ends.
type deaf struct{ net.PacketConn }

func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

// socket is a UDP socket of a stranger.
func (f *flooded) socket(stranger int) *net.UDPConn {
	var c *net.UDPConn
	err := f.h.Inside(func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(f.h.Addr(9, 1+stranger%strangers))})
		return err
	})
	if err != nil {
		f.t.Error(err)
		return nil
	}
	return c
}

// strangerTLS is a certificate that means nothing to the agent.
func strangerTLS(t testing.TB, alpn ...string) *tls.Config {
	t.Helper()
	id, err := identity.NewSelfSigned(identity.Peer{Federation: "other", Datacenter: "dc1", NodeID: "11111111-2222-3333-4444-555555555555", Name: "stranger", Server: true})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{InsecureSkipVerify: true, NextProtos: alpn, Certificates: []tls.Certificate{*id.Certificate()}, ServerName: "legate"}
}

// quicDials begins connections, which hear nothing or end their handshakes and then open
// as many streams as they may.
func (f *flooded) quicDials(ctx context.Context, port int, hears bool, each time.Duration) {
	conf := strangerTLS(f.t, "legate-rpc/1", "legate-gossip/1")
	to := &net.UDPAddr{IP: net.ParseIP(f.n.ip), Port: port}
	var wg sync.WaitGroup
	defer wg.Wait()
	for stranger := range strangers {
		c := f.socket(stranger)
		if c == nil {
			return
		}
		defer c.Close()
		var conn net.PacketConn = c
		if !hears {
			conn = deaf{c}
		}
		tr := &quic.Transport{Conn: conn}
		defer tr.Close()
		wg.Go(func() {
			pace(ctx, each, func(int) {
				within, cancel := context.WithTimeout(ctx, time.Second)
				wg.Go(func() {
					defer cancel()
					qc, err := tr.Dial(within, to, conf, &quic.Config{EnableDatagrams: true})
					for range 500 {
						var s *quic.Stream
						if err == nil {
							s, err = qc.OpenStream()
						}
						if err != nil {
							return
						}
						_, err = s.Write([]byte{0xff, 0xff, 0xff, 0xff})
					}
				})
			})
		})
	}
	<-ctx.Done()
}

// packets sends packets to ports, so often a second to each.
func (f *flooded) packets(ctx context.Context, ports []int, each time.Duration, make func(i int) []byte) {
	var wg sync.WaitGroup
	for _, port := range ports {
		wg.Go(func() {
			c := f.dial(ctx, "udp", port, port)
			if c == nil {
				return
			}
			pace(ctx, each, func(i int) { _, _ = c.Write(make(i)) })
		})
	}
	wg.Wait()
}

// http2s makes connections over TLS that speak HTTP/2, and has each do something until the
// end.
func (f *flooded) http2s(ctx context.Context, n int, do func(*http2.Framer)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		wg.Go(func() {
			c := f.dial(ctx, "tcp", 8501, i)
			if c == nil {
				return
			}
			s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if _, err := io.WriteString(s, http2.ClientPreface); err != nil {
				return
			}
			wg.Go(func() { _, _ = io.Copy(io.Discard, s) })
			fr := http2.NewFramer(s, nil)
			if fr.WriteSettings() == nil {
				do(fr)
			}
		})
	}
}

// headers are those of a request for HTTP/2.
func headers(path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	list := append([]string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", path}, more...)
	for i := 0; i+1 < len(list); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]}) // into memory
	}
	return b.Bytes()
}

func question(name string) []byte {
	m := new(mdns.Msg)
	m.SetQuestion(name, mdns.TypeA)
	b, _ := m.Pack() // such a name can be packed
	return b
}

// usage is what an agent has.
type usage struct {
	memory     uint64
	goroutines int
	files      int
}

func (f *flooded) usage(token *http.Client) (u usage, err error) {
	if u.memory, _, err = f.n.Memory(); err != nil {
		return u, err
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.n.Pid()))
	if err != nil {
		return u, err
	}
	u.files = len(entries)
	resp, err := token.Get("http://" + net.JoinHostPort(f.n.ip, "8500") + "/metrics")
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "go_goroutines{"); ok {
			u.goroutines, err = strconv.Atoi(text[strings.LastIndexByte(text, ' ')+1:])
		} else if text, ok := strings.CutPrefix(s.Text(), "go_goroutines "); ok {
			u.goroutines, err = strconv.Atoi(text)
		}
	}
	return u, err
}

func (u usage) most(o usage) usage {
	return usage{max(u.memory, o.memory), max(u.goroutines, o.goroutines), max(u.files, o.files)}
}

// neighbor asks at a steady pace until the end, over HTTP and DNS in turn, and says how
// long answers took.
func (f *flooded) neighbor(ctx context.Context) (took []time.Duration, failed int) {
	transport := f.h.Transport()
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	var socket net.Conn
	if err := f.h.Inside(func() (err error) {
		socket, err = net.Dial("udp", net.JoinHostPort(f.n.ip, "8600"))
		return err
	}); err != nil {
		f.t.Error(err)
		return nil, 1
	}
	defer socket.Close()
	url := "http://" + net.JoinHostPort(f.n.ip, "8500") + "/v1/kv/k"
	name := question("s1.node.consul.")
	answer := make([]byte, 4096)
	pace(ctx, 5*time.Millisecond, func(i int) {
		began := time.Now()
		ok := false
		if i%2 == 0 {
			ok = statusOf(context.WithoutCancel(ctx), c, url) == http.StatusOK
		} else {
			_ = socket.SetDeadline(began.Add(2 * time.Second)) // a read that waits for ever fails the test anyway
			if _, err := socket.Write(name); err == nil {
				_, err = socket.Read(answer)
				ok = err == nil
			}
		}
		took = append(took, time.Since(began))
		if !ok {
			failed++
		}
	})
	slices.Sort(took)
	return took, failed
}

// flood is one kind of what strangers do.
type flood struct {
	name  string
	conns int // that the agent lets in, of four strangers
	run   func(f *flooded, ctx context.Context)
}

func floods() []flood {
	seeded := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 60_000)
	for i := range noise {
		noise[i] = byte(seeded.Uint32())
	}
	drip := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	return append([]flood{
		{"QUIC handshakes that never end", 0, func(f *flooded, ctx context.Context) {
			var wg sync.WaitGroup
			wg.Go(func() { f.quicDials(ctx, 8300, false, 20*time.Millisecond) })
			f.quicDials(ctx, 8302, false, 20*time.Millisecond)
			wg.Wait()
		}},
		{"QUIC connections of strangers, and their streams", 0, func(f *flooded, ctx context.Context) {
			f.quicDials(ctx, 8300, true, 200*time.Millisecond)
		}},
		{"huge datagrams", 0, func(f *flooded, ctx context.Context) {
			f.packets(ctx, []int{8300, 8301, 8302, 8600}, 5*time.Millisecond, func(i int) []byte { return noise[:60_000-i%100] })
		}},
		{"garbage in small packets", 0, func(f *flooded, ctx context.Context) {
			f.packets(ctx, []int{8300, 8301, 8302, 8600}, 2*time.Millisecond, func(i int) []byte {
				at := i * 64 % 50_000
				return noise[at : at+64+i%1200]
			})
		}},
		{"Raft's port, connections that say nothing", 4 * 16, func(f *flooded, ctx context.Context) { f.hold(ctx, 800, 8300, nil) }},
		{"Raft's port, handshakes that never end", 4 * 16, func(f *flooded, ctx context.Context) { f.hold(ctx, 800, 8300, drip("\x16\x03\x01\x02\x00")) }},
		{"gossip's port, connections that say nothing", 4 * 32, func(f *flooded, ctx context.Context) { f.hold(ctx, 800, 8301, nil) }},
		{"gossip's port, messages of 20 MiB that come in part", 96, func(f *flooded, ctx context.Context) {
			var all []net.Conn
			for i := range 96 {
				if c := f.dial(ctx, "tcp", 8301, i); c != nil {
					_, _ = c.Write(append([]byte{10}, binary.BigEndian.AppendUint32(nil, 20<<20)...))
					all = append(all, c)
				}
			}
			pace(ctx, time.Millisecond, func(i int) { _, _ = all[i%len(all)].Write(noise) }) // 60 MB a second
		}},
		{"DNS over UDP, names that are not there", 0, func(f *flooded, ctx context.Context) {
			f.packets(ctx, []int{8600, 8600}, time.Millisecond, func(i int) []byte { return question(fmt.Sprintf("none%d.service.consul.", i)) })
		}},
		{"DNS over TCP, connections that say nothing", 4 * 32, func(f *flooded, ctx context.Context) { f.hold(ctx, 600, 8600, nil) }},
		{"DNS over TCP, questions without end", 8, func(f *flooded, ctx context.Context) {
			q := question("web.service.consul.")
			q = append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
			var wg sync.WaitGroup
			for i := range 8 {
				if c := f.dial(ctx, "tcp", 8600, i); c != nil { // whose answers it does not read
					wg.Go(func() { pace(ctx, time.Millisecond, func(int) { _, _ = c.Write(q) }) })
				}
			}
			wg.Wait()
		}},
	}, webFloods(noise)...)
}

// webFloods are those of HTTP and HTTPS.
func webFloods(noise []byte) []flood {
	drip := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	return []flood{
		{"HTTP, connections that say nothing", 4 * 200, func(f *flooded, ctx context.Context) { f.hold(ctx, 1200, 8500, nil) }},
		{"HTTP, headers that never end", 400, func(f *flooded, ctx context.Context) {
			f.hold(ctx, 400, 8500, drip("GET /v1/kv/k HTTP/1.1\r\nHost: x\r\nX-Slow: "+strings.Repeat("x", 8000)))
		}},
		{"HTTP, headers of a megabyte", 120, func(f *flooded, ctx context.Context) {
			big := bytes.Repeat([]byte("x"), 900_000)
			pace(ctx, 10*time.Millisecond, func(i int) {
				if c := f.dial(ctx, "tcp", 8500, i); c != nil {
					_, _ = io.WriteString(c, "GET /v1/kv/k HTTP/1.1\r\nHost: x\r\nX-Big: ")
					_, _ = c.Write(big)
				}
			})
		}},
		{"HTTP, bodies that never end", 400, func(f *flooded, ctx context.Context) {
			f.hold(ctx, 400, 8500, drip("PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"+strings.Repeat("x", 1000)))
		}},
		{"HTTPS, handshakes that never end", 4 * 200, func(f *flooded, ctx context.Context) { f.hold(ctx, 1200, 8501, drip("\x16\x03\x01\x02\x00")) }},
		{"HTTP/2, streams that are reset at once", 8, func(f *flooded, ctx context.Context) {
			h := headers("/v1/kv/k")
			f.http2s(ctx, 4, func(fr *http2.Framer) {
				id := uint32(1)
				pace(ctx, 10*time.Millisecond, func(int) {
					for range 10 {
						_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h, EndStream: true, EndHeaders: true})
						_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
						id += 2
					}
				})
			})
		}},
		{"HTTP/2, as many streams that wait as there may be", 8, func(f *flooded, ctx context.Context) {
			h := headers("/v1/kv/k?index=1000000&wait=60s")
			f.http2s(ctx, 8, func(fr *http2.Framer) {
				for id := uint32(1); id < 1000; id += 2 {
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h, EndStream: true, EndHeaders: true})
				}
				<-ctx.Done()
			})
		}},
		{"HTTP/2, headers that never end", 8, func(f *flooded, ctx context.Context) {
			f.http2s(ctx, 8, func(fr *http2.Framer) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers("/v1/kv/k")})
				pace(ctx, 5*time.Millisecond, func(i int) {
					_ = fr.WriteContinuation(1, false, headers("/", "x", string(noise[:1])+strings.Repeat("y", 8000+i%10)))
				})
			})
		}},
	}
}

// TestFloodsOfEachPort has strangers, who have no key, no certificate and no token, flood
// each port in each way, and watches what that costs: the agent's memory, goroutines and
// open files, and how long answers to a neighbor take. Those who flood are held back, so
// that they leave some of the cores to the agent.
func TestFloodsOfEachPort(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	https := p.cert("dc1-server-consul-0", "-server")
	lasts := floodTime
	d, err := time.ParseDuration(os.Getenv("LEGATE_FLOOD_TIME"))
	quiet := err == nil
	if quiet {
		lasts = d
	}
	f := &flooded{t: t, h: h, n: start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: keygen(t), config: map[string]any{
		"ports": map[string]any{"https": 8501}, "tls": map[string]any{"https": https}, "limits": map[string]any{"http_max_conns_per_client": 200}}})}
	awaitLeader(t, patience, f.n)
	proctest.Until(t, patience, "a key is written", func() error { return f.n.put("k", "v", "") })
	if os.Getenv("LEGATE_FLOOD_PINNED") != "" { // the agent has a core for itself
		proctest.Tool(t, proctest.Machine(), "", "taskset", "-a", "-c", "-p", "0", strconv.Itoa(f.n.Pid()))
		proctest.Tool(t, proctest.Machine(), "", "taskset", "-a", "-c", "-p", "1", strconv.Itoa(os.Getpid()))
	}
	watcher := &http.Client{Transport: h.Transport(), Timeout: 10 * time.Second}

	nothing := flood{"nothing", 0, func(_ *flooded, ctx context.Context) { <-ctx.Done() }}
	beside(t, f, watcher, nothing, time.Second) // warms up
	_, alone := beside(t, f, watcher, nothing, lasts)
	for _, kind := range floods() {
		before, err := f.usage(watcher)
		if err != nil {
			t.Fatal(err)
		}
		most, took := beside(t, f, watcher, kind, lasts)
		t.Logf("%-51s memory %3d → %3d MiB, goroutines +%4d, files +%3d; the neighbor's p50 %v → %v, p90 %v → %v, p99 %v → %v", kind.name,
			before.memory>>20, most.memory>>20, most.goroutines-before.goroutines, most.files-before.files,
			rank(alone, 50), rank(took, 50), rank(alone, 90), rank(took, 90), rank(alone, 99), rank(took, 99))
		if most.memory > before.memory+floodMemory || most.goroutines > before.goroutines+floodGoroutines || most.files > before.files+kind.conns+floodFiles {
			t.Errorf("%s: the agent has %+v, %+v before", kind.name, most, before)
		}
		if quiet && rank(took, 90) > rank(alone, 90)*3/2+floodNoise {
			t.Errorf("%s: the neighbor's p90 is %s, %s without", kind.name, rank(took, 90), rank(alone, 90))
		}
		proctest.Until(t, 15*time.Second, "what "+kind.name+" cost is given back", func() error {
			u, err := f.usage(watcher)
			if err == nil && (u.goroutines > before.goroutines+100 || u.files > before.files+50) {
				err = fmt.Errorf("%+v, %+v before", u, before)
			}
			return err
		})
	}
	if f.n.Exited() {
		t.Fatal("the agent has ended")
	}
	calm(t, f.n.name, f.n.String())
}

// beside runs one flood beside the neighbor and says what the agent had at most, and how
// long answers to the neighbor took.
func beside(t *testing.T, f *flooded, watcher *http.Client, kind flood, lasts time.Duration) (most usage, took []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var wg sync.WaitGroup
	var broken atomic.Int64
	var failed int
	wg.Go(func() { kind.run(f, ctx) })
	wg.Go(func() { took, failed = f.neighbor(ctx) })
	wg.Go(func() {
		pace(ctx, 100*time.Millisecond, func(int) {
			u, err := f.usage(watcher)
			if err != nil {
				broken.Add(1)
				return
			}
			most = most.most(u)
		})
	})
	wg.Wait()
	if failed > 0 || broken.Load() > 0 || len(took) == 0 {
		t.Errorf("%s: %d of the neighbor's %d requests failed, and %d of who watches", kind.name, failed, len(took), broken.Load())
	}
	return most, took
}

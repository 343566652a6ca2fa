package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The size of the catalog that is measured: instances in services of equal
// size, but for one that has more.
const (
	catalogServices = 500
	perService      = 40
	largeService    = 200
	watchers        = 2000
	changes         = 20
)

// registration is the body that registers instance i.
func registration(i int) []byte {
	service := fmt.Sprintf("svc-%d", i%catalogServices)
	return fmt.Appendf(nil, `{"Node":"node-%d","Address":"10.%d.%d.%d","Service":{"ID":"%s-%d","Service":"%s","Tags":["v1"],"Port":%d},"Check":{"CheckID":"c-%s-%d","Name":"c","Status":"passing","ServiceID":"%s-%d"}}`,
		i, i>>16, i>>8&255, i&255, service, i, service, 8000+i%1000, service, i, service, i)
}

// catalog measures registering and finding services.
func (b *bench) catalog(ctx context.Context) error {
	leader, _, client, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	addr := leader + ":8500"
	var next atomic.Int64
	out, err := load(ctx, b.conns, b.seconds, func(int) (one, error) {
		c, err := dialHTTP(addr, "PUT", "/v1/catalog/register", registration(0))
		if err != nil {
			return nil, err
		}
		return &registering{httpConn: c.(*httpConn), addr: addr, next: &next}, nil
	})
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	b.add(row{what: "Registration of an instance on the leader", conns: b.conns, out: out, least: 5000, limit99: 60 * time.Millisecond})
	if err := b.fill(int(next.Load()), addr); err != nil {
		return err
	}
	if err := b.findService(ctx, addr); err != nil {
		return err
	}
	for _, at := range []struct {
		name, addr string
		limit      time.Duration
	}{{"on the leader", addr, 35 * time.Millisecond}, {"on a client agent", client + ":8500", 45 * time.Millisecond}} {
		if err := b.wake(ctx, at.name, at.addr, addr, at.limit); err != nil {
			return fmt.Errorf("watchers %s: %w", at.name, err)
		}
	}
	return nil
}

// registering sends another registration each time.
type registering struct {
	*httpConn
	addr string
	next *atomic.Int64
}

func (r *registering) ask(ctx context.Context) error {
	body := registration(int(r.next.Add(1)))
	r.request = fmt.Appendf(r.request[:0], "PUT /v1/catalog/register HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", r.addr, len(body), body)
	return r.httpConn.ask(ctx)
}

// fill registers what is missing to the whole catalog, and the large service.
func (b *bench) fill(have int, addr string) error {
	var wg sync.WaitGroup
	errs := make(chan error, 1)
	jobs := make(chan []byte)
	for range b.conns {
		wg.Go(func() {
			for body := range jobs {
				if err := put("http://"+addr+"/v1/catalog/register", string(body)); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := have; i < catalogServices*perService; i++ {
		jobs <- registration(i)
	}
	for i := range largeService {
		jobs <- []byte(strings.ReplaceAll(string(registration(1_000_000+i*catalogServices)), "svc-0", "large"))
	}
	close(jobs)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// findService compares finding 200 instances with a bare server that answers
// the same bytes.
func (b *bench) findService(ctx context.Context, addr string) error {
	const path = "/v1/health/service/large?passing"
	body, err := get("http://" + addr + path)
	if err != nil {
		return err
	}
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != largeService {
		return fmt.Errorf("the large service has %d instances: %w", len(list), err)
	}
	l, err := net.Listen("tcp", bareIP+":8501")
	if err != nil {
		return err
	}
	bare := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		_, _ = io.WriteString(w, body)
	})}
	served := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { served <- bare.Serve(l) })
	reference, err := load(ctx, b.conns, b.seconds, func(int) (one, error) { return dialHTTP(l.Addr().String(), "GET", "/", nil) })
	err = errors.Join(err, bare.Close())
	wg.Wait()
	if err != nil {
		return err
	}
	b.add(row{what: fmt.Sprintf("bare net/http, %d kB", len(body)/1000), conns: b.conns, out: reference, ratio: 1})
	out, err := load(ctx, b.conns, b.seconds, func(int) (one, error) { return dialHTTP(addr, "GET", path, nil) })
	if err != nil {
		return err
	}
	b.add(row{what: "health/service of 200 instances, passing, on the leader", conns: b.conns, out: out, ratio: out.rate / reference.rate, bar: 0.25})
	return nil
}

// wake has many watch one key and measures how long after a write each hears
// of it, for which the p99 has a limit.
func (b *bench) wake(ctx context.Context, name, addr, leader string, limit time.Duration) error {
	const watched = "/v1/kv/watched"
	if err := put("http://"+leader+watched, "0"); err != nil {
		return err
	}
	index, err := indexOf("http://" + leader + watched)
	if err != nil {
		return err
	}
	took := make(chan time.Duration, watchers)
	var at, asked atomic.Int64
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ready := make(chan error, watchers)
	for range watchers {
		w := watcher{addr: addr, path: watched, index: index, at: &at, asked: &asked, took: took}
		wg.Go(func() { ready <- w.run(stop) })
	}
	if err := wait(ctx, 10*time.Second, func() error {
		if n := asked.Load(); n < watchers {
			return fmt.Errorf("%d of %d watchers are connected", n, watchers)
		}
		return nil
	}); err != nil {
		return err
	}
	var all []time.Duration
	for i := range changes {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ready:
			return err
		case <-time.After(500 * time.Millisecond): // until all wait again
		}
		at.Store(time.Now().UnixNano())
		if err := put("http://"+leader+watched, fmt.Sprint(i+1)); err != nil {
			return err
		}
		for range watchers {
			select {
			case d := <-took:
				all = append(all, d)
			case err := <-ready:
				return err
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%d of %d watchers woke", len(all)%watchers, watchers)
			}
		}
	}
	slices.Sort(all)
	b.add(row{what: fmt.Sprintf("Waking %d watchers of one key %s", watchers, name), conns: watchers,
		out: outcome{p50: all[len(all)/2], p99: all[len(all)*99/100]}, limit99: limit})
	return nil
}

// watcher asks again and again for something newer than index.
type watcher struct {
	addr, path string
	index      uint64
	at         *atomic.Int64 // when the last change began
	asked      *atomic.Int64 // requests of all watchers
	took       chan<- time.Duration
}

// run asks on one connection until ctx ends.
func (w *watcher) run(ctx context.Context) error {
	c, err := dialHTTP(w.addr, "GET", w.path, nil)
	if err != nil {
		return err
	}
	conn := c.(*httpConn)
	defer conn.close()
	defer context.AfterFunc(ctx, func() { conn.conn.Close() })()
	for {
		conn.request = fmt.Appendf(conn.request[:0], "GET %s?index=%d&wait=60s HTTP/1.1\r\nHost: %s\r\n\r\n", w.path, w.index, w.addr)
		w.asked.Add(1)
		if err := conn.ask(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if conn.index > w.index {
			w.took <- time.Since(time.Unix(0, w.at.Load()))
			w.index = conn.index
		}
	}
}

func indexOf(url string) (uint64, error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var index uint64
	_, err = fmt.Sscan(resp.Header.Get("X-Consul-Index"), &index)
	return index, err
}

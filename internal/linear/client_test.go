//go:build linux

package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Shape of the load.
const (
	clients  = 40
	perGroup = 4   // clients that share a key
	keyOps   = 400 // on a key before the group takes another one
	keyOpen  = 8   // writes of unknown outcome on a key before that: they make the search long
	appends  = 2   // groups that append instead of write
	shelves  = 2   // groups that have a shelf instead of a key
	maxThink = 50 * time.Millisecond
)

// promises are the words (X-Legate-Reason) of answers that say: nothing was
// done. A write that may have been done when its server stopped is "lost".
func promises(reason string) bool {
	switch reason {
	case "no-leader", "not-leader", "no-server", "stopping", "busy", "invalid", "denied", "too-large", "unsupported":
		return true
	}
	return false
}

// group is the key that some clients share.
type group struct {
	id     int
	append bool
	shelf  bool

	mu   sync.Mutex
	n    int
	ops  int
	open int
}

func (g *group) key() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ops++; g.ops > keyOps || g.open > keyOpen {
		g.n++
		g.ops, g.open = 0, 0
	}
	prefix := "g"
	if g.shelf {
		prefix = shelfPrefix
	}
	return fmt.Sprintf("%s%d/%d", prefix, g.id, g.n)
}

func (g *group) opened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open++
}

// client asks one thing after another.
type client struct {
	id    int
	c     *cluster
	h     *history
	group *group
	home  func() *node // who is asked
	http  *http.Client
	rand  *rand.Rand
	n     int

	key   string // of what it saw last
	value string
	index uint64

	row      shelfRow // of what it saw last of a shelf
	versions [width]uint64
}

// load starts the clients; they end with ctx, and the returned function waits
// for that.
func (c *cluster) load(ctx context.Context, h *history, seed uint64) (wait func()) {
	var wg sync.WaitGroup
	var g *group
	for i := range clients {
		if i%perGroup == 0 {
			g = &group{id: i / perGroup, append: i/perGroup < appends, shelf: i >= clients-shelves*perGroup}
		}
		timeouts := []time.Duration{1500 * time.Millisecond, 4 * time.Second, 10 * time.Second}
		cl := &client{id: i, c: c, h: h, group: g, rand: rand.New(rand.NewPCG(seed, uint64(i))),
			http: &http.Client{Transport: c.home.Transport(), Timeout: timeouts[i%len(timeouts)]}}
		if cl.home = c.homeOf(i, cl.rand); len(c.far) > 0 && i%2 == 1 {
			cl.home = c.farHome(cl.rand)
		}
		wg.Go(func() { cl.run(ctx) })
	}
	return wg.Wait
}

// homeOf spreads clients: some always ask the server at one place, some the
// client agent, some another server each time.
func (c *cluster) homeOf(i int, r *rand.Rand) func() *node {
	size := len(c.servers)
	switch place := i % (size + 2); place {
	case size:
		return func() *node { return c.agent }
	case size + 1:
		return func() *node { return c.place(r.IntN(size)) }
	default:
		return func() *node { return c.place(place) }
	}
}

func (cl *client) run(ctx context.Context) {
	defer cl.http.CloseIdleConnections()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		cl.step()
		pause.Reset(time.Duration(cl.rand.Int64N(int64(maxThink))))
	}
}

// step does one thing with the group's key.
func (cl *client) step() {
	if key := cl.group.key(); key != cl.key {
		cl.key, cl.value, cl.index = key, "", 0
		cl.row, cl.versions = shelfRow{}, [width]uint64{}
	}
	cl.n++
	fresh := fmt.Sprintf("%d.%d", cl.id, cl.n)
	e := &event{Client: cl.id, Key: cl.key, Value: fresh}
	if cl.group.shelf {
		cl.stepShelf(e)
	} else {
		cl.stepKey(e, fresh)
	}
	if e.Outcome == unknown && !e.Kind.Reads() {
		cl.group.opened()
	}
	cl.h.Add(e)
}

func (cl *client) stepKey(e *event, fresh string) {
	switch p := cl.rand.IntN(100); {
	case p < 25:
		e.Kind = read
	case p < 40:
		e.Kind = consistent
	case p < 55:
		e.Kind = stale
	case cl.group.append:
		e.Kind, e.Expect = swap, cl.value
		e.Value = strings.TrimPrefix(cl.value+","+fresh, ",")
	case p < 75:
		e.Kind, e.Expect = swap, cl.value
	case p < 97:
		e.Kind = write
	default:
		e.Kind, e.Value = remove, ""
	}
	if e.Kind.Reads() {
		e.Value = ""
	}
	cl.do(e)
	if e.Outcome == done && (e.Kind == read || e.Kind == consistent) {
		cl.value, cl.index = e.Value, e.Index
	}
}

// do asks and notes what came back.
func (cl *client) do(e *event) {
	method, path, body := http.MethodGet, "/v1/kv/"+e.Key, e.Value
	switch e.Kind {
	case consistent:
		path += "?consistent"
	case stale:
		path += "?stale"
	case write:
		method = http.MethodPut
	case swap:
		method = http.MethodPut
		path += "?cas=" + strconv.FormatUint(cl.index, 10)
	case remove:
		method = http.MethodDelete
	}
	if res, answer, ok := cl.send(e, method, path, body); ok {
		answered(e, res, answer)
	}
}

// send asks and notes when, and whether an answer came.
func (cl *client) send(e *event, method, path, body string) (*http.Response, []byte, bool) {
	n := cl.home()
	req, err := http.NewRequest(method, n.url(n.asking(path)), strings.NewReader(body))
	if err != nil {
		panic(err) // a fault of this test
	}
	before := n.label()
	e.Server = before
	e.Call = cl.h.Now()
	res, err := cl.http.Do(req)
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	e.Return = cl.h.Now()
	if e.Kind == stale && (n == cl.c.agent || n.dc != "dc1" || n.label() != before) {
		e.Server = "" // it is not known which server's state this is
	}
	if err != nil {
		fail(e, err)
		return nil, nil, false
	}
	return res, answer, true
}

// fail notes that no answer came. Only a connection that was never made means
// that nobody heard of it.
func fail(e *event, err error) {
	e.Outcome, e.Why = unknown, err.Error()
	if o, ok := errors.AsType[*net.OpError](err); ok && o.Op == "dial" {
		e.Outcome = unsent
	}
}

func answered(e *event, res *http.Response, answer []byte) {
	switch {
	case res.StatusCode == http.StatusOK && e.Kind.Reads():
		found(e, res, answer)
	case res.StatusCode == http.StatusOK && strings.TrimSpace(string(answer)) == "true":
		e.Outcome = done
	case res.StatusCode == http.StatusOK && e.Kind == swap && strings.TrimSpace(string(answer)) == "false":
		e.Outcome = no
	case res.StatusCode == http.StatusNotFound && e.Kind.Reads():
		e.Outcome = done
		e.Result, _ = strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64)
	case promises(res.Header.Get("X-Legate-Reason")):
		e.Outcome, e.Why = refused, res.Header.Get("X-Legate-Reason")
	default:
		e.Outcome, e.Why = unknown, fmt.Sprintf("%s %s: %s", res.Status, res.Header.Get("X-Legate-Reason"), answer)
	}
}

// found notes what a read saw.
func found(e *event, res *http.Response, answer []byte) {
	var entries []struct {
		Value       []byte
		ModifyIndex uint64
	}
	if err := json.Unmarshal(answer, &entries); err != nil || len(entries) != 1 {
		e.Outcome, e.Why = unknown, fmt.Sprintf("the answer is %q: %v", answer, err)
		return
	}
	e.Outcome, e.Value, e.Index = done, string(entries[0].Value), entries[0].ModifyIndex
	e.Result, _ = strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64)
}

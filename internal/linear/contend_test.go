//go:build linux

package linear

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

// Shape of the contest.
const (
	contenders = 50
	// shortHold is longer than it takes all others to see that they came too
	// late: who sees no holder then, the official client has sleep for 5 s.
	shortHold  = 50 * time.Millisecond
	longHold   = 2 * time.Second // of one in longOneIn, at most
	longOneIn  = 20
	proofEvery = 50 * time.Millisecond // guarded writes of a holder
	again      = 100 * time.Millisecond
	lookOneIn  = 10 // contenders whose waiting counts as looks: each release wakes all of them
)

// contender wants the lock or semaphore of a contest again and again, with the
// official client. It is the client's transport too, and notes what the client
// asks and hears.
type contender struct {
	id    int
	c     *contest
	home  *node
	inner *http.Transport
	api   *api.Client
	rand  *rand.Rand

	session atomic.Pointer[string] // the newest
	held    int
}

func newContender(c *contest, id int, home *node, from *cluster, seed uint64) (*contender, error) {
	w := &contender{id: id, c: c, home: home, inner: from.home.Transport(), rand: rand.New(rand.NewPCG(seed, uint64(id)))}
	conf := &api.Config{Address: home.ip + ":8500", HttpClient: &http.Client{Transport: w}}
	if home.dc != "dc1" {
		conf.Datacenter = "dc1"
	}
	client, err := api.NewClient(conf)
	w.api = client
	return w, err
}

// RoundTrip asks, and notes what came back.
func (w *contender) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	x := &exchange{req: req, sent: sent, call: w.c.h.Now()}
	if id, ok := strings.CutPrefix(req.URL.Path, "/v1/session/destroy/"); ok {
		w.c.session(id, func(s *tenure) { s.ending = cmp0(s.ending, x.call) })
	}
	res, err := w.inner.RoundTrip(req)
	if err == nil {
		x.got, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(x.got))
	}
	x.back = w.c.h.Now()
	x.conclude(res, err)
	w.note(x)
	if err != nil {
		return nil, err
	}
	return res, nil
}

// cmp0 is the smaller one, where 0 is none.
func cmp0(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// exchange is one request and what came back.
type exchange struct {
	req        *http.Request
	sent, got  []byte
	call, back time.Duration
	status     int
	outcome    outcome
}

func (x *exchange) conclude(res *http.Response, err error) {
	x.outcome = unknown
	if err != nil {
		if o, ok := errors.AsType[*net.OpError](err); ok && o.Op == "dial" {
			x.outcome = unsent
		}
		return
	}
	x.status = res.StatusCode
	switch {
	case x.status == http.StatusOK && strings.TrimSpace(string(x.got)) == "false":
		x.outcome = no
	case x.status == http.StatusOK:
		x.outcome = done
	case promises(res.Header.Get("X-Legate-Reason")):
		x.outcome = refused
	}
}

func (x *exchange) act(k actKind, session string) *act {
	return &act{Kind: k, Session: session, Call: x.call, Return: x.back, Outcome: x.outcome}
}

// note takes what bears on the contest.
func (w *contender) note(x *exchange) {
	p, query := x.req.URL.Path, x.req.URL.Query()
	switch {
	case strings.HasPrefix(p, "/v1/session/"):
		w.noteSession(x, strings.TrimPrefix(p, "/v1/session/"))
	case p == "/v1/txn":
		w.noteProof(x)
	case x.req.Method == http.MethodGet && (query.Has("consistent") || w.id%lookOneIn == 0 && w.home.dc == "dc1"): // others may be answered from a view
		if x.status == http.StatusOK || x.status == http.StatusNotFound {
			w.noteLook(x)
		}
	case query.Has("acquire") && p == "/v1/kv/"+w.c.key:
		w.c.add(x.act(take, query.Get("acquire")))
	case query.Has("release"):
		w.noteLeave(x, query.Get("release"))
	case query.Has("cas") && x.req.Method == http.MethodPut:
		var slots struct{ Holders map[string]bool }
		if id := *w.session.Load(); json.Unmarshal(x.sent, &slots) != nil {
			panic("the official client writes " + string(x.sent))
		} else if slots.Holders[id] {
			w.c.add(x.act(take, id))
		} else if x.outcome != no {
			w.c.add(x.act(leave, id))
		}
	}
}

// noteLeave takes a release. One that changed nothing says that the session
// held nothing.
func (w *contender) noteLeave(x *exchange, id string) {
	if x.outcome == no {
		w.c.add(x.act(lack, id))
		return
	}
	w.c.add(x.act(leave, id))
}

func (w *contender) noteSession(x *exchange, what string) {
	verb, id, _ := strings.Cut(what, "/")
	var created struct{ ID string }
	switch {
	case verb == "create" && x.outcome == done && json.Unmarshal(x.got, &created) == nil:
		w.session.Store(&created.ID)
		w.c.session(created.ID, func(s *tenure) { s.renewed, s.home = max(s.renewed, x.call), w.home })
	case verb == "renew" && x.outcome == done:
		w.c.session(id, func(s *tenure) { s.renewed = max(s.renewed, x.call) })
	case verb == "destroy" && x.outcome == done: // a renewal is refused already while the end is being written
		w.c.session(id, func(s *tenure) { s.over = cmp0(s.over, x.back) })
	}
}

// pair is what a look sees of a key.
type pair struct {
	Key, Session string
	Value        []byte
	ModifyIndex  uint64
}

// holders are those that pairs of a contest show, sorted: the session of a
// lock, or those whom the key of a semaphore names and that are alive.
func (c *contest) holders(pairs []pair) []string {
	if c.limit == 1 {
		for _, p := range pairs {
			if p.Key == c.key && p.Session != "" {
				return []string{p.Session}
			}
		}
		return nil
	}
	var slots struct{ Holders map[string]bool }
	alive := map[string]bool{}
	for _, p := range pairs {
		if p.Key == path.Join(c.key, api.DefaultSemaphoreKey) {
			if err := json.Unmarshal(p.Value, &slots); err != nil {
				panic(fmt.Sprintf("the semaphore is %q", p.Value)) // nobody writes such a thing
			}
		}
		alive[p.Session] = p.Session != ""
	}
	maps.DeleteFunc(slots.Holders, func(id string, _ bool) bool { return !alive[id] })
	return slices.Sorted(maps.Keys(slots.Holders))
}

func (w *contender) noteLook(x *exchange) {
	wanted := "/v1/kv/" + w.c.key
	_, recurse := x.req.URL.Query()["recurse"]
	if x.req.URL.Path != wanted || recurse != (w.c.limit > 1) {
		return // the semaphore's key alone does not say who is alive
	}
	var pairs []pair
	if x.status == http.StatusOK && json.Unmarshal(x.got, &pairs) != nil {
		return
	}
	a := x.act(look, "")
	a.Outcome, a.Holders = done, w.c.holders(pairs)
	w.c.add(a)
}

// noteProof takes a write that is guarded by the session that holds.
func (w *contender) noteProof(x *exchange) {
	var answer struct{ Results []struct{ KV pair } }
	switch {
	case x.status == http.StatusConflict:
		w.c.add(x.act(lack, *w.session.Load()))
	case x.outcome == done && json.Unmarshal(x.got, &answer) == nil && len(answer.Results) > 0:
		a, pairs := x.act(look, ""), []pair(nil)
		for _, r := range answer.Results {
			if r.KV.Key == w.c.fence() {
				a.Index = r.KV.ModifyIndex
				continue
			}
			pairs = append(pairs, r.KV)
		}
		a.Holders = w.c.holders(pairs)
		w.c.add(a)
	}
}

// fence is the key that only holders write.
func (c *contest) fence() string { return "fence/" + c.key }

// prove writes the fence if the session still holds, in one transaction that
// also shows who else does.
func (w *contender) prove(ctx context.Context, n int) {
	id := *w.session.Load()
	guard := &api.KVTxnOp{Verb: api.KVCheckSession, Key: w.c.key, Session: id}
	see := &api.KVTxnOp{Verb: api.KVGet, Key: w.c.key}
	if w.c.limit > 1 {
		guard.Key = path.Join(w.c.key, id)
		see = &api.KVTxnOp{Verb: api.KVGetTree, Key: w.c.key + "/"}
	}
	write := &api.KVTxnOp{Verb: api.KVSet, Key: w.c.fence(), Value: fmt.Appendf(nil, "%s %d", id, n)}
	// What came of it was noted.
	_, _, _, _ = w.api.Txn().Txn(api.TxnOps{{KV: guard}, {KV: write}, {KV: see}}, (&api.QueryOptions{}).WithContext(ctx))
}

// holder returns how to get it once and how to give it back.
func (w *contender) holder() (acquire func(<-chan struct{}) (<-chan struct{}, error), release func() error, err error) {
	retries := w.id % 2 * 10
	if w.c.limit == 1 {
		l, err := w.api.LockOpts(&api.LockOptions{Key: w.c.key, Value: []byte("x"), SessionTTL: w.c.ttl.String(),
			LockDelay: w.c.delay, MonitorRetries: retries, MonitorRetryTime: again})
		return l.Lock, l.Unlock, err
	}
	s, err := w.api.SemaphoreOpts(&api.SemaphoreOptions{Prefix: w.c.key, Limit: w.c.limit, Value: []byte("x"), SessionTTL: w.c.ttl.String(),
		MonitorRetries: retries, MonitorRetryTime: again})
	return s.Acquire, s.Release, err
}

// round gets it once, holds it for a while and gives it back. It returns
// whether it was got after the fault.
func (w *contender) round(ctx context.Context) (last bool, err error) {
	acquire, release, err := w.holder()
	if err != nil {
		return false, err
	}
	lost, err := acquire(ctx.Done())
	if err != nil || lost == nil {
		return false, err
	}
	last = w.c.calm()
	b := belief{session: *w.session.Load(), begun: w.c.h.Now()}
	heard := make(chan time.Duration, 1)
	go func() {
		select {
		case <-lost:
		case <-ctx.Done():
		}
		heard <- w.c.h.Now()
	}()
	inside, leave := context.WithCancel(ctx)
	defer leave()
	over := time.NewTimer(w.stay(last))
	defer over.Stop()
	proofs := time.NewTicker(proofEvery)
	defer proofs.Stop()
	for n, held := 0, true; held; n++ {
		w.prove(inside, n)
		select {
		case b.end = <-heard:
			held = false
		case <-over.C:
			b.end, held = w.c.h.Now(), false
		case <-proofs.C:
		}
	}
	select {
	case b.end = <-heard: // while it wrote
	default:
	}
	w.c.believe(b)
	w.held++
	return last, release()
}

func (w *contender) stay(last bool) time.Duration {
	if !last && w.rand.IntN(longOneIn) == 0 {
		return time.Duration(w.rand.Int64N(int64(longHold)))
	}
	return shortHold + time.Duration(w.rand.Int64N(int64(shortHold)))
}

// run contends until it has got it once after the fault.
func (w *contender) run(ctx context.Context) {
	pause := time.NewTicker(again)
	defer pause.Stop()
	for ctx.Err() == nil {
		last, err := w.round(ctx)
		if last {
			return
		}
		if err != nil {
			<-pause.C
		}
	}
}

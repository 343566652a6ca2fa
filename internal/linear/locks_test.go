//go:build linux

package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/linear/judge"
)

// rules are the conditions of a contest.
type rules struct {
	limit int // of holders
	ttl   time.Duration
	delay time.Duration
}

// slack is for the contenders' turns, 5 s of which all of them may sleep (the
// official client does when it is refused and then sees no holder).
const slack = 15 * time.Second

// turnover is how long all contenders may need from the end of a fault until
// each has held once more: a session without an owner lives for twice its TTL
// from a new leader on, and then comes the delay.
func (r rules) turnover() time.Duration { return 2*r.ttl + r.delay + slack }

// lockFault is a fault, and the client agents that it comes to.
type lockFault struct {
	fault
	agents func(c *cluster) []*node
	long   bool // it lasts until sessions that nobody renews have ended
}

// lockFaults are those of servers and those of client agents, in the order in
// which the short form goes through them.
func lockFaults(p *lockCampaign) []lockFault {
	holder := func(c *cluster) []*node { return only(p.agentOfHolder(c.clients())) }
	agents := agentFaults(p, "the holder's client agent", holder)
	all := agents[:1:1]
	for _, f := range faults() {
		all = append(all, lockFault{fault: f, agents: nobody})
	}
	return append(all, agents[1:]...)
}

func nobody(*cluster) []*node { return nil }

// agentFaults are those that come to a client agent whose session holds.
func agentFaults(p *lockCampaign, which string, holder func(c *cluster) []*node) []lockFault {
	return []lockFault{
		{fault: fault{name: "stop " + which, strike: func(_ *cluster, _ *rand.Rand) {
			p.hit.Signal(syscall.SIGSTOP)
		}}, agents: holder},
		{fault: fault{name: "kill " + which, strike: func(c *cluster, _ *rand.Rand) { c.kill(p.hit) }}, agents: holder},
		{fault: fault{name: "cut off " + which, strike: func(c *cluster, _ *rand.Rand) {
			deafen(p.hit, c.nodes()...)
			c.wall()
		}}, agents: holder},
	}
}

// farLockFaults are those between the datacenters, short and longer than a TTL, and those
// of the client agents of the other datacenter.
func farLockFaults(p *lockCampaign) []lockFault {
	holder := func(c *cluster) []*node { return only(p.agentOfHolder(c.farther)) }
	var all []lockFault
	for _, f := range farFaults() {
		all = append(all, lockFault{fault: f, agents: nobody, long: true})
	}
	agents := agentFaults(p, "the holder's client agent in the other datacenter", holder)
	all = slices.Concat(all[:1], agents[1:2], all[1:], agents[:1], agents[2:])
	for _, f := range farFaults()[:3] {
		all = append(all, lockFault{fault: f, agents: nobody})
	}
	return all
}

// lockCampaign is one contest after another, each with its fault.
type lockCampaign struct {
	t    *testing.T
	c    *cluster
	h    *history
	rand *rand.Rand
	seed uint64
	size int // contenders
	now  *contest
	hit  *node // the client agent that the fault comes to
	n    int
	held int
	far  int // of them by contenders in the other datacenter
	acts int
}

func newLockCampaign(t *testing.T, size int, seed uint64) *lockCampaign {
	t.Helper()
	c := newCluster(t, 3, plain(t))
	c.enlarge("agent2", "10.7.0.21")
	c.whole(patience)
	return &lockCampaign{t: t, c: c, h: judge.NewHistory(), rand: rand.New(rand.NewPCG(seed, 0)), seed: seed, size: size}
}

// apart adds another datacenter, whose agents have half of the contenders.
func (p *lockCampaign) apart(servers int) {
	p.t.Helper()
	p.c.abroad(servers)
	p.c.farAgent("fa1", "10.7.0.71")
	p.c.farAgent("fa2", "10.7.0.72")
	p.c.whole(patience)
}

// agentOfHolder waits until the session of one of the client agents holds.
func (p *lockCampaign) agentOfHolder(among []*node) (found *node) {
	p.t.Helper()
	p.c.until("a client agent with a holder", func() error {
		body, err := p.c.ask(http.MethodGet, p.c.leader(), "/v1/kv/"+p.now.key+"?recurse", "")
		if err != nil {
			return err
		}
		var pairs []pair
		if err := json.Unmarshal([]byte(body), &pairs); err != nil {
			return err
		}
		p.now.mu.Lock()
		defer p.now.mu.Unlock()
		for _, id := range p.now.holders(pairs) {
			if s := p.now.sessions[id]; s != nil && slices.Contains(among, s.home) {
				found = s.home
				return nil
			}
		}
		return errors.New("none now")
	})
	return found
}

// suffer is one contest from its beginning until nothing is left of it.
func (p *lockCampaign) suffer(f lockFault, r rules) {
	p.t.Helper()
	p.n++
	failed := p.t.Failed()
	p.now = newContest(fmt.Sprintf("contest/%d", p.n), r.limit, p.h)
	p.now.ttl, p.now.delay = r.ttl, r.delay
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*patience)
	defer cancel()
	var wg sync.WaitGroup
	all := p.contend(ctx, &wg)
	<-time.After(warmUp)

	agents := f.agents(p.c)
	if len(agents) > 0 {
		p.hit = agents[0]
	}
	began := p.h.Now()
	p.now.strike(slices.Concat(agents, p.c.servers, p.c.far)...)
	f.strike(p.c, p.rand)
	<-time.After(time.Second + time.Duration(p.rand.IntN(3000))*time.Millisecond)
	if f.long {
		<-time.After(2 * r.ttl)
	}
	p.c.heal()
	p.now.heal()
	turned := p.turn(&wg, cancel, r)
	clean := p.clean(all[0], r)
	held, far := 0, 0
	for _, w := range all {
		held += w.held
		if w.home.dc != "dc1" {
			far += w.held
		}
		w.inner.CloseIdleConnections()
	}
	p.judge(failed)
	p.held += held
	p.far += far
	p.t.Logf("%8.3f %-45s limit %d: held %d times, %d from afar, all again %6.3f s after the end, nothing left %6.3f s later",
		began.Seconds(), f.name, r.limit, held, far, turned.Seconds(), clean.Seconds())
}

// contend starts the contenders, half of them at client agents.
func (p *lockCampaign) contend(ctx context.Context, wg *sync.WaitGroup) (all []*contender) {
	p.t.Helper()
	homes := append(append(p.c.nodes(), p.c.clients()...), p.c.agent) // agents twice, one of them thrice
	if far := slices.Concat(p.c.far, p.c.farther, p.c.farther); len(far) > 0 {
		near, both := slices.Concat(p.c.clients(), p.c.servers), []*node(nil)
		for i := range max(len(near), len(far)) {
			both = append(both, near[i%len(near)], far[i%len(far)])
		}
		homes = both
	}
	for i := range p.size {
		w, err := newContender(p.now, i, homes[i%len(homes)], p.c, p.seed+uint64(p.n))
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, w)
	}
	for _, w := range all {
		wg.Go(func() { w.run(ctx) })
	}
	return all
}

// turn waits until every contender has held after the fault, and returns how
// long that took.
func (p *lockCampaign) turn(wg *sync.WaitGroup, cancel func(), r rules) time.Duration {
	p.t.Helper()
	began, over := time.Now(), make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(r.turnover()):
		p.t.Errorf("not every contender has held within %s after the end of the fault", r.turnover())
		cancel()
		<-over
	}
	return time.Since(began)
}

// clean waits until no session is left, takes the keys away as their users do,
// and returns how long that took.
func (p *lockCampaign) clean(w *contender, r rules) time.Duration {
	p.t.Helper()
	began := time.Now()
	for p.left("/v1/session/list?consistent") != nil && time.Since(began) < 2*r.ttl+slack {
		<-time.After(again)
	}
	if err := p.left("/v1/session/list?consistent"); err != nil {
		p.t.Errorf("%s after the contest: %v", time.Since(began), err)
	}
	p.c.until("taking the keys away", func() error {
		if r.limit == 1 {
			l, err := w.api.LockKey(p.now.key)
			if err != nil {
				return err
			}
			return l.Destroy()
		}
		s, err := w.api.SemaphorePrefix(p.now.key, r.limit)
		if err != nil {
			return err
		}
		return s.Destroy()
	})
	if err := p.left("/v1/kv/" + p.now.key + "?recurse&consistent"); err != nil {
		p.t.Errorf("after the contest: %v", err)
	}
	return time.Since(began)
}

// left is an error that tells what the path shows, nil if that is nothing.
func (p *lockCampaign) left(path string) error {
	body, err := p.c.ask(http.MethodGet, p.c.agent, path, "")
	switch {
	case err != nil && errors.Is(err, errAbsent):
		return nil
	case err != nil:
		return err
	case body == "[]" || body == "[]\n":
		return nil
	}
	return fmt.Errorf("%s shows %s", path, body)
}

func (p *lockCampaign) judge(failed bool) {
	p.t.Helper()
	began := time.Now()
	v := p.now.judge(judgeTime)
	p.acts += len(p.now.acts)
	if len(v.Faults) > 0 {
		p.t.Errorf("%s:\n%s", v.Key, strings.Join(v.Faults[:min(len(v.Faults), 5)], "\n"))
	}
	if p.t.Failed() && (!failed || len(v.Faults) > 0) {
		p.t.Logf("see %s", keep(p.t, v, mutex(p.now.limit), lines(p.now.acts)))
	}
	p.t.Logf("%s: judged %d acts and %d beliefs in %s", v.Key, len(p.now.acts), len(p.now.beliefs), time.Since(began).Round(time.Millisecond))
}

// TestNeverTwoHolders has 50 contenders want one lock or semaphore with the
// official client, while servers and client agents are killed, stopped and cut
// off.
func TestNeverTwoHolders(t *testing.T) {
	t.Parallel()
	long, seed := longRun(t), seedOf(t)
	if long == 0 {
		const half = contenders / 2
		p := newLockCampaign(t, half, seed)
		lock, semaphore := rules{1, 2 * time.Second, 100 * time.Millisecond}, rules{3, 2 * time.Second, 0}
		for n, r := range []rules{lock, semaphore, lock} {
			p.suffer(lockFaults(p)[n], r)
		}
		return
	}
	p := newLockCampaign(t, contenders, seed)
	all := lockFaults(p)
	usual := []rules{{1, 10 * time.Second, 100 * time.Millisecond}, {3, 10 * time.Second, 0}, {1, 10 * time.Second, 15 * time.Second}}
	order := rand.New(rand.NewPCG(seed, 1)).Perm(len(all))
	for n, end := 0, time.Now().Add(long); time.Now().Before(end); n++ {
		p.suffer(all[order[n%len(all)]], usual[n%len(usual)])
	}
	t.Logf("%d contests, held %d times, %d acts", p.n, p.held, p.acts)
}

// TestNeverTwoHoldersAcrossDatacenters has half of the contenders ask agents of another
// datacenter, on whose nodes their sessions stand then, while the datacenters are cut off
// from each other, and agents there killed, stopped and cut off.
func TestNeverTwoHoldersAcrossDatacenters(t *testing.T) {
	t.Parallel()
	long, seed := longRun(t), seedOf(t)
	if long == 0 {
		p := newLockCampaign(t, contenders/2, seed)
		p.apart(1)
		for n, r := range []rules{{1, 2 * time.Second, 100 * time.Millisecond}, {3, 2 * time.Second, 0}} {
			p.suffer(farLockFaults(p)[n], r)
		}
		if p.far == 0 {
			t.Error("nobody held from afar: the test shows nothing")
		}
		return
	}
	p := newLockCampaign(t, contenders, seed)
	p.apart(3)
	all := farLockFaults(p)
	usual := []rules{{1, 10 * time.Second, 100 * time.Millisecond}, {3, 10 * time.Second, 0}, {1, 5 * time.Second, 5 * time.Second}}
	order := rand.New(rand.NewPCG(seed, 1)).Perm(len(all))
	for n, end := 0, time.Now().Add(long); time.Now().Before(end); n++ {
		p.suffer(all[order[n%len(all)]], usual[n%len(usual)])
	}
	t.Logf("%d contests, held %d times, %d of them from afar, %d acts", p.n, p.held, p.far, p.acts)
}

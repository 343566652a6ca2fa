//go:build linux

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// calling is calls of an agent to another datacenter, one after another.
type calling struct {
	done, failed int
	longest      time.Duration // without one that was answered
	lastErr      error
}

// keepCalling has client agents of both datacenters write and read in the other one until stop.
func (l *land) keepCalling(t *testing.T) (stop func() map[string]calling) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[string]calling{}
	for from, to := range map[*node]string{l.clientA: "dc2", l.clientB: "dc1"} {
		wg.Go(func() {
			var p calling
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for last := time.Now(); ctx.Err() == nil; <-tick.C {
				value := fmt.Sprint(p.done)
				err := from.put("pace", value, to)
				if err == nil {
					err = from.get("pace", value, to)
				}
				p.longest = max(p.longest, time.Since(last))
				if err != nil {
					p.failed, p.lastErr = p.failed+1, err
					continue
				}
				p.done++
				last = time.Now()
			}
			mu.Lock()
			out[to] = p
			mu.Unlock()
		})
	}
	return func() map[string]calling { cancel(); wg.Wait(); return out }
}

// The keys of the WAN pool, and then those of the LAN pools, are rotated while all that two
// datacenters say to each other goes through gateways: calls go on, no gateway is lost, and
// what the gateways were given under the old key counts no more. Connections that are used all
// the time end a minute later.
func TestKeysRotateWhileGatewaysCarry(t *testing.T) {
	t.Parallel()
	p := newPrivate(t)
	old, fresh := p.key, keygen(t)
	a := p.a
	stop := p.keepCalling(t)
	given := func(g *node) int { return strings.Count(g.String(), "has given this gateway its identity") }
	step := func(what string, args ...string) {
		t.Helper()
		before := []int{given(p.gateways[0]), given(p.gateways[1])}
		began := time.Now()
		a.keyring(0, nil, append([]string{"-wan"}, args...)...)
		for i, g := range p.gateways {
			proctest.Until(t, patience, what+" arrives at gateway "+g.name, func() error {
				if given(g) == before[i] {
					return fmt.Errorf("it was given what it is %d times", before[i])
				}
				return nil
			})
		}
		took := time.Since(began)
		t.Logf("%s: the gateways had what follows from it after %s", what, took)
		if took > 15*time.Second {
			t.Errorf("%s: the gateways had what follows from it after %s", what, took)
		}
	}
	a.keyring(0, []string{"WAN:\n  " + old + " [2/2]"}, "-wan", "-list")
	step("the new key", "-install="+fresh)
	step("its use", "-use="+fresh)
	step("the end of the old key", "-remove="+old)
	a.keyring(0, []string{"WAN:\n  " + fresh + " [2/2]"}, "-list")
	proctest.Until(t, patience, "what the old key proved has ended, and both datacenters answer each other", func() error { return p.across("rotated") })
	<-time.After(70 * time.Second) // what is in use all the time lives for a minute
	for to, got := range stop() {
		t.Logf("%s was asked %d times, %d times in vain, the longest time without an answer was %s; the last error: %v", to, got.done+got.failed, got.failed, got.longest, got.lastErr)
		if got.done < 20 || got.longest > 8*time.Second {
			t.Errorf("%s: %d calls were answered, the longest time without was %s", to, got.done, got.longest)
		}
	}
	p.reached(a, bothGateways)

	// Without -wan the keys of the LAN pools are meant, and clients may ask.
	lan := keygen(t)
	p.clientB.keyring(0, []string{"LAN pool of dc1", "LAN pool of dc2"}, "-install="+lan)
	a.keyring(0, []string{"WAN:\n  " + fresh + " [2/2]\n\n"}, "-list")
	p.clientB.keyring(0, []string{"not shown here"}, "-list")
	p.clientB.keyring(1, []string{"for servers"}, "-wan", "-list")
	p.clientB.keyring(1, []string{"one of the WAN pool"}, "-install="+fresh)
	for _, g := range p.gateways {
		if said := g.String(); strings.Contains(said, fresh) || strings.Contains(said, old) || strings.Contains(said, "carries nothing") {
			t.Errorf("%s says %s", g.name, said)
		}
	}
}

// A federation with one key for everything gives the WAN pool a key of its own while it runs,
// as docs/reach.md says: then its gateways carry.
func TestFromOneKeyToTwo(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	one, wan := keygen(t), keygen(t)
	a := start(t, spec{host: h, name: "a", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: one})
	g := start(t, spec{host: h, name: "g", dc: "dc1", ip: h.Addr(1, 2), key: one, lan: []string{a.ip}, flags: []string{"-gateway"}})
	reach := map[string]any{"federation": map[string]any{"reach": "gateways", "gateways": []string{g.ip}}}
	b := start(t, spec{host: h, name: "b", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: one, wan: []string{a.ip}, config: reach})
	proctest.Until(t, patience, "both datacenters answer each other", func() error {
		if err := a.put("k", "1", "dc2"); err != nil {
			return err
		}
		return b.put("k", "1", "dc1")
	})
	proctest.Until(t, patience, "the gateway says what is missing, and who registers with it what that means", func() error {
		if said := g.String(); !strings.Contains(said, "encrypt_wan") {
			return fmt.Errorf("%s", said)
		}
		if r := b.cli("federation status"); !strings.Contains(r.Stdout, "b is not reached through the gateway "+g.ip+":8302") || !strings.Contains(r.Stdout, "the peer has no identity yet") {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
	a.keyring(0, nil, "-wan", "-install="+wan)
	a.keyring(1, []string{"nothing was changed"}, "-wan", "-remove="+one)
	a.keyring(0, nil, "-wan", "-use="+wan)
	a.keyring(0, []string{"2 of the WAN pool"}, "-wan", "-remove="+one)
	proctest.Until(t, patience, "the gateway carries", func() error {
		if r := a.cli("members", "-wan", "-detailed"); !strings.Contains(r.Stdout, "via="+g.ip+":8302") {
			return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
		}
		return a.get("k", "1", "dc2")
	})
	a.wanKey, b.wanKey = wan, wan
	for _, n := range []*node{a, b} { // with encrypt_wan they say nothing of a key that is not theirs
		n.Kill()
		n.start()
	}
	proctest.Until(t, patience, "they answer each other after a restart", func() error {
		if err := a.put("k", "2", "dc2"); err != nil {
			return err
		}
		return b.put("k", "2", "dc1")
	})
	a.keyring(0, []string{"WAN:\n  " + wan + " [2/2]\n", "dc1 (LAN):\n  " + one + " ["}, "-list")
	a.keyring(1, []string{"one of the LAN pool of dc1"}, "-wan", "-install="+one)
}

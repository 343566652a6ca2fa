package silence

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const patience = 500 * time.Millisecond

// peer is the other end of a connection that acknowledges what it gets while it
// lives.
type peer struct {
	*Watch
	received, probes    atomic.Int64
	waiting, dead, gone atomic.Bool
}

func newPeer() *peer {
	p := &peer{}
	p.Watch = New(Link{
		Received: func() uint64 { return uint64(p.received.Load()) },
		Waiting:  func() bool { return p.waiting.Load() },
		Patience: func() time.Duration { return patience },
		Probe:    func() { p.probes.Add(1); p.hears() },
		Gone:     func() { p.gone.Store(true) },
	})
	return p
}

func (p *peer) hears() {
	if !p.dead.Load() {
		p.received.Add(1)
	}
}

func (p *peer) request() {
	at := p.Now()
	p.waiting.Store(true)
	p.hears()
	p.Sent(at)
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAPeerIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		name   string
		dies   func(p *peer)
		within time.Duration
	}{
		{"before the request", func(p *peer) { p.dead.Store(true); p.request() }, patience},
		{"right after it acknowledged the request", func(p *peer) { p.request(); p.dead.Store(true) }, 2 * patience},
		{"after a packet that belongs to an earlier request", func(p *peer) { p.dead.Store(true); p.request(); p.received.Add(1) }, 2 * patience},
		{"while it works for long", func(p *peer) { p.request(); pass(3 * time.Second); p.dead.Store(true) }, maxPause + 2*patience},
		{"while it works for long, before another request", func(p *peer) { p.request(); pass(20 * time.Second); p.dead.Store(true); p.request() }, patience},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer()
			c.dies(p)
			if pass(patience - time.Millisecond); p.gone.Load() {
				t.Errorf("%s: given up too soon", c.name)
			}
			if pass(c.within - patience + 2*time.Millisecond); !p.gone.Load() {
				t.Errorf("%s: not given up after %s", c.name, c.within)
			}
		})
	}
}

func TestAPeerThatLivesIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.request()
		pass(time.Hour)
		if n, most := p.probes.Swap(0), int64(time.Hour/maxPause)+4; p.gone.Load() || n > most {
			t.Errorf("gone %v, %d probes for one request, at most %d are wanted", p.gone.Load(), n, most)
		}
		p.waiting.Store(false)
		pass(time.Hour)
		if n := p.probes.Load(); p.gone.Load() || n > 0 {
			t.Errorf("gone %v, %d probes while nothing waits", p.gone.Load(), n)
		}
	})
}

func TestAProcessThatStoodStillGivesNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.dead.Store(true)
		p.request()
		<-time.After(patience - time.Millisecond)
		p.mu.Lock()
		p.mark.at, p.next = p.mark.at.Add(-time.Second), p.next.Add(-time.Second) // a second was lost
		p.mu.Unlock()
		p.look()
		if p.gone.Load() || p.probes.Load() != 1 {
			t.Errorf("gone %v after %d probes", p.gone.Load(), p.probes.Load())
		}
		if pass(patience + time.Millisecond); !p.gone.Load() {
			t.Error("not given up after the probe")
		}
	})
}

func TestAConnectionIsSilentUntilAPacketComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.dead.Store(true)
		sent := p.Now()
		pass(100 * time.Millisecond)
		if p.GaveUp(sent, 200*time.Millisecond); p.Silent() {
			t.Error("silent before an acknowledgement was due")
		}
		pass(200 * time.Millisecond)
		if p.GaveUp(sent, 200*time.Millisecond); !p.Silent() {
			t.Error("not silent")
		}
		if p.received.Add(1); p.Silent() {
			t.Error("silent after a packet")
		}
	})
}

// One whose peer is in doubt is silent until the peer gives a sign of life, and given up if it gives
// none, whether a request waits or not.
func TestAPeerInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.dead.Store(true)
		p.Doubt()
		if !p.Silent() || p.probes.Load() != 1 {
			t.Errorf("silent: %t, probed %d times", p.Silent(), p.probes.Load())
		}
		pass(patience + time.Millisecond)
		if !p.gone.Load() {
			t.Error("it is not given up")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.Doubt() // it answers the probe
		if p.Silent() {
			t.Error("it gave a sign of life")
		}
		pass(10 * patience)
		if p.gone.Load() || p.probes.Load() != 1 {
			t.Errorf("given up: %t, probed %d times", p.gone.Load(), p.probes.Load())
		}
	})
}

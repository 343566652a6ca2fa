package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/wanem"

	"github.com/legate-project/legate/transport/counted"
)

// ledger counts how often each request was carried out.
type ledger struct {
	mu   sync.Mutex
	seen map[string]int
	size int           // of an answer
	hold chan struct{} // nil, or answers wait for it
}

// times is how often a request was carried out.
func (l *ledger) times(request string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[request]
}

func (l *ledger) answer(_ context.Context, _ Remote, request []byte) []byte {
	l.mu.Lock()
	l.seen[string(request)]++
	hold, size := l.hold, l.size
	l.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return append(request, make([]byte, size)...)
}

// lossyPair opens two endpoints of which the second keeps a ledger; the
// emulated network loses packets.
func lossyPair(t *testing.T, link wanem.Link) (n *wanem.Network, a, b *Endpoint, l *ledger) {
	t.Helper()
	l = &ledger{seen: map[string]int{}}
	n, a, b = pair(t, link, func(c *Config) {
		c.Protocols = map[string]Protocol{testProtocol: {Lossy: true, Answer: l.answer, PoolSize: 8}}
	})
	return n, a, b, l
}

// double has the path from a to b take its network for one that loses packets.
func double(t *testing.T, a, b *Endpoint) *path {
	t.Helper()
	p, err := a.path(to(b), testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.pairs.Lossy = true
	p.loss = counted.Loss{At: time.Now().Add(time.Hour), Lossy: true} // as of later: it is not measured again
	p.mu.Unlock()
	eventually(t, 10*time.Second, "there are connections enough", func() bool {
		if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, []byte("first")); err != nil {
			t.Fatal(err)
		}
		return p.stats().Connections >= lossyConns
	})
	return p
}

func doubled(a *Endpoint) float64 {
	return testutil.ToFloat64(a.metrics.twice.WithLabelValues(testProtocol, "dc1", "first")) +
		testutil.ToFloat64(a.metrics.twice.WithLabelValues(testProtocol, "dc1", "second"))
}

func TestRequestThatComesTwiceIsCarriedOutOnce(t *testing.T) {
	_, a, b, l := lossyPair(t, wanem.Link{RTT: 10 * time.Millisecond, Loss: 0.1, Jitter: 4 * time.Millisecond})
	double(t, a, b)
	const workers, calls = 8, 60
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range calls {
				text := fmt.Sprintf("request %d of %d", i, w)
				got, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, []byte(text[:3]), []byte(text[3:]))
				if err != nil || string(got) != text {
					t.Errorf("%s: %q %v", text, got, err)
				}
			}
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, "first")
	if len(l.seen) != workers*calls {
		t.Errorf("%d of %d requests were carried out", len(l.seen), workers*calls)
	}
	for text, n := range l.seen {
		if n != 1 {
			t.Errorf("%s was carried out %d times", text, n)
		}
	}
	if n := doubled(a); n < workers*calls/2 {
		t.Errorf("only %v requests went on two connections", n)
	}
}

func TestLossMakesRequestsGoTwiceAndCalmEndsIt(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for statistics")
	}
	n, a, b, _ := lossyPair(t, wanem.Link{RTT: 10 * time.Millisecond, Loss: 0.05})
	call := func() {
		if _, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 15*time.Second, "loss is seen", func() bool {
		call()
		s := a.Path(to(b), testProtocol)
		return s.Duplicating && s.Recent > counted.LossyAbove && doubled(a) > 0
	})
	n.SetDefault(wanem.Link{RTT: 10 * time.Millisecond})
	p, err := a.path(to(b), testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	calm := func() bool {
		p.mu.Lock() // some minutes later
		p.loss.At = p.loss.At.Add(-10 * counted.LossMemory)
		p.pairs.At = p.pairs.At.Add(-10 * counted.LossMemory)
		p.mu.Unlock()
		for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
			if call(); !a.Path(to(b), testProtocol).Duplicating {
				return true
			}
		}
		return false
	}
	seen := false
	for i := 0; i < 3 && !seen; i++ { // losses of before may be told after the first
		seen = calm()
	}
	if !seen {
		t.Fatal("calm is not seen")
	}
	start, before := time.Now(), doubled(a)
	for range 50 {
		call()
	}
	if n, most := doubled(a)-before, 2+float64(time.Since(start)/pairEvery); n > most {
		t.Errorf("%v of 50 requests went twice without loss, want at most %v to learn about it", n, most)
	}
}

func TestConnectionLostOnTheWayCarriesNothingOutTwice(t *testing.T) {
	_, a, b, l := lossyPair(t, wanem.Link{RTT: 10 * time.Millisecond})
	double(t, a, b)
	for round := range 20 {
		text := fmt.Sprintf("round %d", round)
		l.mu.Lock()
		l.hold = make(chan struct{})
		l.mu.Unlock()
		got := make(chan error, 1)
		go func() {
			_, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, []byte(text))
			got <- err
		}()
		eventually(t, 5*time.Second, "it has begun", func() bool { return l.times(text) == 1 })
		for _, c := range a.snapshot() { // those that carry a copy, or all of them
			if c.inFlight.Load() > 0 && (round%2 == 0 || rand.IntN(2) == 0) {
				c.close(codeDeaf, "test")
				if round%4 == 1 {
					break
				}
			}
		}
		close(l.hold)
		if err := <-got; err != nil && !errors.Is(err, ErrLost) {
			t.Errorf("round %d: %v, want an answer or that it may have been carried out", round, err)
		}
		if n := l.times(text); n != 1 {
			t.Errorf("round %d: carried out %d times", round, n)
		}
		double(t, a, b)
	}
}

func TestLongAnswerComesOnce(t *testing.T) {
	_, a, b, l := lossyPair(t, wanem.Link{RTT: 10 * time.Millisecond})
	double(t, a, b)
	const size = 10 * maxDuplicateAnswer
	l.mu.Lock()
	l.size = size
	l.mu.Unlock()
	for i := range 10 {
		got, err := a.RoundTrip(within(t, 10*time.Second), to(b), testProtocol, nil, []byte{byte(i)})
		if err != nil || len(got) != size+1 {
			t.Fatal(len(got), err)
		}
	}
	b.duplicates.mu.Lock()
	defer b.duplicates.mu.Unlock()
	if b.duplicates.bytes > 1000 {
		t.Errorf("%d bytes of answers are kept", b.duplicates.bytes)
	}
}

func TestRequestGivenUpEndsAtOnce(t *testing.T) {
	_, a, b, l := lossyPair(t, wanem.Link{RTT: 10 * time.Millisecond})
	double(t, a, b)
	hold := make(chan struct{})
	l.mu.Lock()
	l.hold = hold
	l.mu.Unlock()
	defer close(hold)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.RoundTrip(ctx, to(b), testProtocol, nil, []byte("x")); !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	a.numbers.mu.Lock()
	defer a.numbers.mu.Unlock()
	if len(a.numbers.open) > 0 || a.numbers.low != a.numbers.next {
		t.Errorf("numbers %d to %d, %d in progress", a.numbers.low, a.numbers.next, len(a.numbers.open))
	}
}

// Copies in any order, as late as a sender's window allows: each number has
// one first copy.
func TestEveryOrderOfCopiesHasOneFirst(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := time.Now()
		w := duplicates{origins: map[originKey]*origin{}}
		var send numbers
		send.init()
		firsts := map[uint64]int{}
		var under []uint64 // copies on their way
		ends := map[uint64]int{}
		deliver := func(i int) {
			number := under[i]
			under[i] = under[len(under)-1]
			under = under[:len(under)-1]
			tw, first, err := w.join(originKey{node: "n"}, number, now)
			if err != nil {
				t.Fatalf("number %d of %d: %v", number, send.next, err)
			}
			if first {
				firsts[number]++
				w.answered(tw, []byte("a"), now)
			}
			if ends[number]++; ends[number] == 2 {
				send.end(number)
			}
			now = now.Add(time.Millisecond)
		}
		for range 15_000 {
			if number, id, ok := send.begin(); ok {
				if binary.BigEndian.Uint64(id[16:]) != number {
					t.Fatal("the identity does not carry the number")
				}
				under = append(under, number, number)
			}
			for range 2 {
				i := r.IntN(len(under))
				if seed%2 == 0 { // mostly the newest: the oldest are very late
					i = len(under) - 1 - min(r.IntN(4), len(under)-1)
				}
				deliver(i)
			}
		}
		for len(under) > 0 {
			deliver(0)
		}
		for number := range send.next {
			if firsts[number] != 1 {
				t.Fatalf("seed %d: number %d was first %d times", seed, number, firsts[number])
			}
		}
		if o := w.origins[originKey{node: "n"}]; len(o.seen) > duplicateWindow || len(w.kept) > 30_000 {
			t.Errorf("%d numbers and %d answers are remembered", len(o.seen), len(w.kept))
		}
	}
}

func TestCopiesBeyondTheBoundsAreRefused(t *testing.T) {
	now := time.Now()
	w := duplicates{origins: map[originKey]*origin{}}
	k := originKey{node: "n"}
	if _, first, err := w.join(k, 0, now); !first || err != nil {
		t.Fatal(first, err)
	}
	if _, first, err := w.join(k, 1<<40, now); !first || err != nil {
		t.Fatal(first, err)
	}
	if _, _, err := w.join(k, 0, now); !errors.Is(err, errDuplicateTaken) {
		t.Errorf("a number far behind the newest: %v", err)
	}
	if n := len(w.origins[k].seen); n != 1 {
		t.Errorf("%d numbers remembered", n)
	}
	for i := range maxOrigins - 1 {
		if _, _, err := w.join(originKey{node: fmt.Sprint(i)}, 0, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.join(originKey{node: "one more"}, 0, now); !errors.Is(err, errDuplicateBusy) {
		t.Errorf("one origin more: %v", err)
	}
	w.sweep(now.Add(2*originIdle), map[string]bool{"n": true})
	if len(w.origins) != 1 || w.origins[k] == nil {
		t.Errorf("%d origins are left, want the one that is connected", len(w.origins))
	}
}

func TestAnswersWaitForTheSecondCopyWithinBounds(t *testing.T) {
	now := time.Now()
	w := duplicates{origins: map[originKey]*origin{}}
	answer := make([]byte, maxDuplicateAnswer)
	var all []*duplicate
	for i := range uint64(duplicateWindow) {
		tw, _, err := w.join(originKey{}, i, now)
		if err != nil {
			t.Fatal(err)
		}
		w.answered(tw, answer, now)
		all = append(all, tw)
	}
	if w.bytes > maxDuplicateBytes {
		t.Errorf("%d bytes kept", w.bytes)
	}
	if w.take(all[0]) == nil || w.take(all[0]) != nil {
		t.Error("an answer is for one second copy")
	}
	w.sweep(now.Add(2*duplicateKeep), nil)
	if w.bytes != 0 || len(w.kept) != 0 || w.take(all[1]) != nil {
		t.Errorf("%d bytes kept of what nobody came for", w.bytes)
	}
}

// Each life of a peer's process is an origin of its own. Those that are over are
// forgotten although the peer is connected again.
func TestOriginsOfProcessesThatEndedAreForgotten(t *testing.T) {
	now := time.Now()
	w := duplicates{origins: map[originKey]*origin{}}
	for life := range byte(200) {
		if _, _, err := w.join(originKey{node: "n", origin: [16]byte{life}}, 0, now); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		now = now.Add(time.Minute)
		w.sweep(now, map[string]bool{"n": true, "m": true})
	}
	if _, _, err := w.join(originKey{node: "m"}, 0, now); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	w.sweep(now, map[string]bool{"n": true, "m": true})
	last, other := w.origins[originKey{node: "n", origin: [16]byte{199}}], w.origins[originKey{node: "m"}]
	if len(w.origins) != 2 || last == nil || other == nil {
		t.Errorf("%d origins are left, want the newest of each node that is connected", len(w.origins))
	}
}

// One peer that invents origins leaves room for the others.
func TestOriginsOfOneNodeAreBounded(t *testing.T) {
	now := time.Now()
	w := duplicates{origins: map[originKey]*origin{}}
	for i := range 2 * maxOrigins {
		k := originKey{node: "liar"}
		binary.BigEndian.PutUint32(k.origin[:], uint32(i))
		if _, _, err := w.join(k, 0, now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Millisecond)
	}
	if len(w.origins) > maxNodeOrigins {
		t.Errorf("%d origins of one node", len(w.origins))
	}
	var newest originKey
	newest.node = "liar"
	binary.BigEndian.PutUint32(newest.origin[:], 2*maxOrigins-1)
	if w.origins[newest] == nil {
		t.Error("the origin that asked last was forgotten")
	}
	if _, first, err := w.join(originKey{node: "other"}, 0, now); err != nil || !first {
		t.Errorf("another node: %v", err)
	}
}

// A request that waits for minutes keeps no others from going twice.
func TestLongRequestDoesNotEndRedundancy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n numbers
		n.init()
		long, _, ok := n.begin()
		if !ok {
			t.Fatal("no number for the first request")
		}
		for range 2 * duplicateWindow {
			<-time.After(10 * time.Millisecond)
			number, _, ok := n.begin()
			if !ok {
				t.Fatal("requests no longer go twice")
			}
			n.end(number)
		}
		n.end(long)
		if len(n.open) > 0 || n.low != n.next {
			t.Errorf("numbers %d to %d, %d in progress", n.low, n.next, len(n.open))
		}
	})
}

// Who gives up a request ends its work, though that belongs to neither copy.
func TestWorkOfARequestGivenUpEnds(t *testing.T) {
	ended := make(chan struct{}, 1)
	_, a, b := pair(t, wanem.Link{RTT: 10 * time.Millisecond}, func(c *Config) {
		c.Protocols = map[string]Protocol{testProtocol: {Lossy: true, PoolSize: 8, Answer: func(ctx context.Context, _ Remote, request []byte) []byte {
			if string(request) == "wait" {
				<-ctx.Done()
				ended <- struct{}{}
			}
			return request
		}}}
	})
	double(t, a, b)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	before := doubled(a)
	if _, err := a.RoundTrip(ctx, to(b), testProtocol, nil, []byte("wait")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err, before)
	}
	select {
	case <-ended:
	case <-time.After(3 * duplicateKeep):
		t.Error("the work goes on although nobody waits for it")
	}
}

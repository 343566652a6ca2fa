package links

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

func by(rtt time.Duration, through ...string) Path { return Path{Through: through, RTT: rtt} }

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

func keys(paths []Path) (out []string) {
	for _, p := range paths {
		out = append(out, p.Key())
	}
	return out
}

func order(t *testing.T, table *Table, want ...string) {
	t.Helper()
	if got := keys(table.Paths("c")); !slices.Equal(got, want) {
		t.Errorf("paths in the order %q, not %q", got, want)
	}
}

// Neither a path that leads somewhere twice nor one that is too long is ever taken, whoever tells
// of it, and no more than a few are remembered.
func TestPathsWithoutLoops(t *testing.T) {
	table := NewTable("b")
	table.Heard("c", []Path{
		by(1*ms, "x.b"), by(2*ms, "x.c"), by(3*ms, "x.a", "y.a"), by(4*ms, "x.a", "x.b"), by(5*ms, "x.a", "x.c"),
		by(6*ms, "x.a", "x.d", "x.e"), by(7 * ms), by(8*ms, ""), by(9*ms, "x.a", "x.d"), by(10*ms, "x.a"),
	}, nil)
	order(t, table, "x.a x.d", "x.a")
	var many []Path
	for i := range 100 {
		many = append(many, by(time.Duration(i)*ms, fmt.Sprintf("x.d%d", i)))
	}
	table.Heard("c", many, nil)
	if n := len(table.Paths("c")); n != MaxPaths {
		t.Errorf("%d paths are remembered", n)
	}
	for i := range 10 * maxDatacenters {
		table.Doubt(fmt.Sprint(i))
	}
	if n := len(table.dcs); n > maxDatacenters {
		t.Errorf("something is remembered of %d datacenters", n)
	}
	table.Keep(map[string]bool{"c": true})
	if n := len(table.dcs); n != 1 {
		t.Errorf("%d datacenters are left", n)
	}
}

// The nearest path is taken, loss counts, and of two that cost the same the shorter one.
func TestTheBestPath(t *testing.T) {
	table := NewTable("b")
	lossy := by(40*ms, "x.l")
	lossy.Loss = 0.3
	table.Heard("c", []Path{by(60*ms, "x.a", "x.d"), by(60*ms, "x.e"), lossy, by(50*ms, "x.f")}, nil)
	order(t, table, "x.f", "x.e", "x.a x.d", "x.l")
	if p := by(10*ms, "x.a").Then(Path{Through: []string{"x.d"}, RTT: 5 * ms, Loss: 0.5}); p.RTT != 15*ms || p.Loss != 0.5 || p.Key() != "x.a x.d" {
		t.Errorf("a path that goes on over another: %+v", p)
	}
}

// A path in use stays until another is clearly better.
func TestPathsAreNotTakenInTurn(t *testing.T) {
	table := NewTable("b")
	table.Heard("c", []Path{by(50*ms, "x.a"), by(55*ms, "x.d")}, nil)
	if !table.Chose("c", by(0, "x.a")) || table.Chose("c", by(0, "x.a")) {
		t.Error("what is in use is news once")
	}
	table.Breaks("c")
	for _, d := range []time.Duration{49 * ms, 45 * ms, 41 * ms} {
		table.Heard("c", []Path{by(50*ms, "x.a"), by(d, "x.d")}, nil)
		order(t, table, "x.a", "x.d")
		if _, better := table.Better("c"); better {
			t.Errorf("%v is no better than 50 ms", d)
		}
	}
	table.Heard("c", []Path{by(50*ms, "x.a"), by(39*ms, "x.d")}, nil)
	order(t, table, "x.d", "x.a")
	if p, better := table.Better("c"); !better || p.Key() != "x.d" {
		t.Errorf("better is %+v", p)
	}
	table.Heard("c", []Path{by(2*ms, "x.a"), by(1*ms, "x.d")}, nil)
	order(t, table, "x.a", "x.d")
}

// What failed is tried last, for longer each time: a lie about the way costs little.
func TestAPathThatFailsIsTriedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, liar, honest := NewTable("b"), by(1*ms, "x.liar"), by(80*ms, "x.a")
		say := func() { table.Heard("c", []Path{liar, honest}, nil) }
		say()
		order(t, table, "x.liar", "x.a")
		for _, pause := range []time.Duration{avoidFor, 2 * avoidFor, 4 * avoidFor} {
			table.Failed("c", liar)
			pass(pause - time.Second)
			say()
			order(t, table, "x.a", "x.liar")
			pass(2 * time.Second)
			order(t, table, "x.liar", "x.a")
		}
		table.Chose("c", liar)
		table.Failed("c", liar)
		order(t, table, "x.a", "x.liar")
		pass(avoidFor + time.Second)
		order(t, table, "x.liar", "x.a")
		for i := range 1000 {
			table.Failed("c", by(1, fmt.Sprint("x.", i)))
		}
		if n := len(table.dcs["c"].failed); n > 2*MaxPaths {
			t.Errorf("%d failures are remembered", n)
		}
	})
}

// What others said is not good for long, and who reaches a datacenter is shown while this one
// does not.
func TestWhatOthersSaidGrowsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable("b")
		if table.Fresh("c") {
			t.Error("nobody said anything")
		}
		table.Heard("c", []Path{by(50*ms, "x.a")}, []string{"a", "d"})
		if !table.Fresh("c") {
			t.Error("it was said just now")
		}
		if s := table.Of("c"); s.From != nil || s.Direct != Unknown {
			t.Errorf("shown as %+v", s)
		}
		table.Breaks("c")
		table.Chose("c", by(0, "x.a"))
		if s := table.Of("c"); !slices.Equal(s.From, []string{"a", "d"}) || !slices.Equal(s.Through, []string{"a"}) || s.RTT != 50*ms {
			t.Errorf("shown as %+v", s)
		}
		pass(freshFor)
		if table.Fresh("c") {
			t.Error("it was said long ago")
		}
	})
}

// A direct link that is broken is tried again, ever more seldom; one that breaks soon after it
// healed is not tried as eagerly as at first.
func TestADirectLinkIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable("b")
		table.Doubt("c")
		if table.Direct("c") != Doubted || len(table.Due(9)) != 1 || len(table.Due(9)) > 0 || len(table.BrokenOnes()) > 0 {
			t.Error("a link in doubt is tried at once, and not broken")
		}
		table.Works("c")
		if !table.Breaks("c") || table.Breaks("c") {
			t.Error("it breaks once")
		}
		table.Doubt("c")
		tries := func(d time.Duration) (n int) {
			for range d / (100 * ms) {
				pass(100 * ms)
				n += len(table.Due(9))
			}
			return n
		}
		if n := tries(10 * time.Second); n != 3 {
			t.Errorf("tried %d times in 10 s", n)
		}
		if n := tries(10 * time.Minute); n < 18 || n > 22 {
			t.Errorf("tried %d times in the next 10 minutes", n)
		}
		if !table.Works("c") || table.Works("c") || table.Direct("c") != Whole || len(table.Due(9)) > 0 {
			t.Error("it healed, once")
		}
		table.Breaks("c")
		if n := tries(20 * time.Second); n != 0 {
			t.Errorf("it broke again, and was tried %d times in 20 s", n)
		}
		table.Works("c")
		pass(unstableFor + time.Second)
		table.Breaks("c")
		if n := tries(2 * time.Second); n != 1 {
			t.Errorf("it had held, and was tried %d times in 2 s", n)
		}
		if got := table.BrokenOnes(); !slices.Equal(got, []string{"c"}) {
			t.Errorf("broken: %v", got)
		}
	})
}

package server

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
)

// point is a coordinate so many milliseconds from the origin.
func point(ms float64) coordinate.Coord {
	return coordinate.Coord{Vec: []float64{ms / 1000, 0, 0, 0, 0, 0, 0, 0}}
}

// place registers nodes and writes their coordinates past the door.
func (h *harness) place(t *testing.T, at map[string]coordinate.Coord) {
	t.Helper()
	batch := coordinate.Entries{}
	for node, c := range at {
		h.register(t, &catalog.RegisterRequest{Node: node, Address: "10.1.0." + strings.TrimPrefix(node, "n")})
		batch = append(batch, coordinate.Entry{Node: node, Coord: c})
	}
	if _, _, err := coordinate.Batch.Call(t.Context(), h.self(), op.Header{}, &batch); err != nil {
		t.Fatal(err)
	}
}

// order lists the nodes that begin with n as they come near something.
func (h *harness) order(t *testing.T, near string) string {
	t.Helper()
	list, _, err := catalog.ListNodes.Call(t.Context(), h, op.Header{Near: near}, &op.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range *list {
		if strings.HasPrefix(n.Node, "n") {
			out = append(out, n.Node)
		}
	}
	return strings.Join(out, " ")
}

func TestNearSortsByDistance(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	h.place(t, map[string]coordinate.Coord{"n1": point(30), "n2": point(10), "n3": point(20)})
	h.register(t, &catalog.RegisterRequest{Node: "n0", Address: "10.1.0.0"}) // without a coordinate
	for near, want := range map[string]string{
		"":                            "n0 n1 n2 n3",
		"n2":                          "n2 n3 n1 n0",
		"N1":                          "n1 n3 n2 n0",
		op.NearAddress + "10.1.0.3":   "n3 n1 n2 n0", // two as far as each other keep their order
		op.NearAddress + "10.9.9.9":   "n0 n1 n2 n3",
		"nobody":                      "n0 n1 n2 n3",
		"n0":                          "n0 n1 n2 n3",
		strings.Repeat("long", 10000): "n0 n1 n2 n3",
	} {
		if got := h.order(t, near); got != want {
			t.Errorf("near %.20q: %s, want %s", near, got, want)
		}
	}
}

func TestBrokenCoordinatesAreRefusedAtTheDoor(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	with := func(change func(*coordinate.Coord)) coordinate.Entry {
		c := point(1)
		change(&c)
		return coordinate.Entry{Node: "s1", Coord: c}
	}
	for name, e := range map[string]coordinate.Entry{
		"not a number":    with(func(c *coordinate.Coord) { c.Vec[7] = math.NaN() }),
		"infinite":        with(func(c *coordinate.Coord) { c.Vec[0] = math.Inf(1) }),
		"infinite height": with(func(c *coordinate.Coord) { c.Height = math.Inf(1) }),
		"adjustment":      with(func(c *coordinate.Coord) { c.Adjustment = math.Inf(-1) }),
		"error":           with(func(c *coordinate.Coord) { c.Error = math.NaN() }),
		"negative error":  with(func(c *coordinate.Coord) { c.Error = -1 }),
		"far":             with(func(c *coordinate.Coord) { c.Vec[0] = 1e6 }),
		"few dimensions":  with(func(c *coordinate.Coord) { c.Vec = c.Vec[:3] }),
		"many dimensions": with(func(c *coordinate.Coord) { c.Vec = make([]float64, 64) }),
		"none":            {Node: "s1"},
		"long name":       {Node: strings.Repeat("n", maxCoordinateName+1), Coord: point(1)},
	} {
		if _, _, err := coordinate.Update.Call(t.Context(), h, op.Header{}, &e); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	good := coordinate.Entry{Node: "s1", Coord: point(1)}
	if _, _, err := coordinate.Update.Call(t.Context(), h, op.Header{}, &good); err != nil {
		t.Error(err)
	}
	if n := len(h.coords.take(10)); n != 1 {
		t.Errorf("%d updates are kept, want the good one", n)
	}
}

// Whatever the tables hold, a sorted list has each item once, the known ones
// first and nearest first.
func TestNoCoordinateBreaksASort(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	float := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, 1e300, -1e300, 0.01, 0.02}))
	names := []string{"n1", "n2", "n3", "n4", "n5", "n6"}
	rapid.Check(t, func(rt *rapid.T) {
		at := map[string]coordinate.Coord{}
		for _, n := range names {
			dimensions := rapid.SampledFrom([]int{8, 8, 8, 0, 3}).Draw(rt, "dimensions")
			at[n] = coordinate.Coord{Vec: rapid.SliceOfN(float, dimensions, dimensions).Draw(rt, "vec"),
				Error: float.Draw(rt, "error"), Adjustment: float.Draw(rt, "adjustment"), Height: float.Draw(rt, "height")}
		}
		h.place(t, at)
		got := strings.Fields(h.order(t, "n1"))
		if all := slices.Sorted(slices.Values(got)); !slices.Equal(all, names) {
			rt.Fatalf("sorted list %v", got)
		}
		from, last, unknown := at["n1"], -1.0, false
		for _, n := range got {
			c := at[n]
			d, ok := rtt.Distance(from.Serf(), c.Serf())
			if ok && (unknown || float64(d) < last) {
				rt.Fatalf("%s is out of order in %v", n, got)
			}
			if unknown = unknown || !ok; ok {
				last = float64(d)
			}
		}
	})
}

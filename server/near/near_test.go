package near

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
)

// point is a coordinate so many milliseconds from the origin.
func point(ms float64) coordinate.Coord {
	return coordinate.Coord{Vec: []float64{ms / 1000, 0, 0, 0, 0, 0, 0, 0}}
}

// harness is an order over a state that commands change.
type harness struct {
	*Order
	group *servertest.Group
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	s := servertest.OpenState(t)
	r, err := results.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return &harness{New(r), servertest.NewGroup(s, state.New())}
}

func (h *harness) register(t *testing.T, node string) {
	t.Helper()
	h.group.Commit(t, &catalog.Register, &catalog.RegisterRequest{Node: node, Address: "10.1.0." + strings.TrimPrefix(node, "n")})
}

// place registers nodes and writes their coordinates past the door.
func (h *harness) place(t *testing.T, at map[string]coordinate.Coord) {
	t.Helper()
	batch := coordinate.Entries{}
	for node, c := range at {
		h.register(t, node)
		batch = append(batch, coordinate.Entry{Node: node, Coord: c})
	}
	h.group.Commit(t, &coordinate.Batch, &batch)
}

// order lists the nodes as they come near something.
func (h *harness) order(t *testing.T, near string) string {
	t.Helper()
	v := h.group.State.View()
	list, err := catalog.ListNodes.Query(v, &op.Empty{})
	if err = errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	var shown any = list
	sorted, err := h.Sort(near, &shown)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range *shown.(*catalog.Nodes) {
		out = append(out, n.Node)
	}
	if was := len(*list); len(out) != was || sorted && near == "" {
		t.Errorf("%d nodes became %d", was, len(out))
	}
	return strings.Join(out, " ")
}

func TestNearSortsByDistance(t *testing.T) {
	h := newHarness(t)
	h.place(t, map[string]coordinate.Coord{"n1": point(30), "n2": point(10), "n3": point(20)})
	h.register(t, "n0") // without a coordinate
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

// Whatever the tables hold, a sorted list has each item once, the known ones
// first and nearest first.
func TestNoCoordinateBreaksASort(t *testing.T) {
	h := newHarness(t)
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

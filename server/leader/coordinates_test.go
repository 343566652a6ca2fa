package leader

import (
	"math"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/coordinate"
)

// point is a coordinate so many milliseconds from the origin.
func point(ms float64) coordinate.Coord {
	return coordinate.Coord{Vec: []float64{ms / 1000, 0, 0, 0, 0, 0, 0, 0}}
}

func TestBrokenCoordinatesAreRefusedAtTheDoor(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
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

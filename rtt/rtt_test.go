package rtt

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"pgregory.net/rapid"
)

// at is a coordinate on the first axis, in milliseconds from the origin.
func at(ms float64) *coordinate.Coordinate {
	c := coordinate.NewCoordinate(coordinate.DefaultConfig())
	c.Vec[0] = ms / 1000
	c.Height = 0
	return c
}

func changed(change func(*coordinate.Coordinate)) *coordinate.Coordinate {
	c := at(1)
	change(c)
	return c
}

// broken returns coordinates of which no distance is known.
func broken() map[string]*coordinate.Coordinate {
	return map[string]*coordinate.Coordinate{
		"nil":              nil,
		"not a number":     changed(func(c *coordinate.Coordinate) { c.Vec[3] = math.NaN() }),
		"infinite":         changed(func(c *coordinate.Coordinate) { c.Height = math.Inf(1) }),
		"infinite error":   changed(func(c *coordinate.Coordinate) { c.Error = math.Inf(-1) }),
		"other dimensions": {Vec: []float64{1, 2}},
		"no dimensions":    {},
		"absurdly far":     changed(func(c *coordinate.Coordinate) { c.Vec[0] = 1e300 }),
		"far":              changed(func(c *coordinate.Coordinate) { c.Vec[0] = 1e6 }),
	}
}

func TestDistanceIsThatOfVivaldi(t *testing.T) {
	a, b := at(0), at(30)
	a.Height, b.Height = 0.001, 0.002
	a.Adjustment, b.Adjustment = 0.004, -0.001
	got, ok := Distance(a, b)
	if want := a.DistanceTo(b); !ok || got != want || got < 35*time.Millisecond {
		t.Fatalf("%v, %v; want %v", got, ok, want)
	}
	b.Adjustment = -10 // would make it negative: adjustments do not count
	if got, ok := Distance(a, b); !ok || got != a.DistanceTo(b) || got != 33*time.Millisecond {
		t.Fatalf("%v, %v", got, ok)
	}
}

func TestBrokenCoordinatesAreUnknownAndInvalid(t *testing.T) {
	for name, c := range broken() {
		if d, ok := Distance(at(0), c); ok {
			t.Errorf("%s: distance %v", name, d)
		}
		if _, ok := Distance(c, at(0)); ok {
			t.Errorf("from %s a distance is known", name)
		}
		if err := Validate(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Validate(at(80)); err != nil {
		t.Error(err)
	}
	if err := Validate(changed(func(c *coordinate.Coordinate) { c.Height = -1 })); !errors.Is(err, ErrInvalid) {
		t.Error("a negative height is valid")
	}
}

func TestUnknownDistancesSortLastAndEqualOnesStay(t *testing.T) {
	type node struct {
		name string
		c    *coordinate.Coordinate
	}
	nodes := []node{{"nan", broken()["not a number"]}, {"far", at(50)}, {"nil", nil}, {"b", at(10)}, {"a", at(10)}, {"near", at(1)}}
	SortByDistance(nodes, at(0), func(n node) *coordinate.Coordinate { return n.c })
	var names []string
	for _, n := range nodes {
		names = append(names, n.name)
	}
	if want := []string{"near", "b", "a", "far", "nan", "nil"}; !slices.Equal(names, want) {
		t.Fatalf("%v, want %v", names, want)
	}
	SortByDistance(nodes, nil, func(n node) *coordinate.Coordinate { return n.c })
	if nodes[0].name != "near" || nodes[5].name != "nil" {
		t.Fatal("with nothing known the order changed")
	}
}

func TestNoFloatsBreakTheOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		odd := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 0}))
		var list []*coordinate.Coordinate
		for range rapid.IntRange(0, 12).Draw(r, "n") {
			list = append(list, &coordinate.Coordinate{
				Vec:    rapid.SliceOfN(odd, 0, 9).Draw(r, "vec"),
				Height: odd.Draw(r, "height"), Adjustment: odd.Draw(r, "adjustment"), Error: odd.Draw(r, "error")})
		}
		from := at(0)
		SortByDistance(list, from, func(c *coordinate.Coordinate) *coordinate.Coordinate { return c })
		last, known := time.Duration(0), true
		for _, c := range list {
			d, ok := Distance(from, c)
			if ok && (!known || d < last) {
				r.Fatalf("%v after %v", d, last)
			}
			last, known = d, ok
		}
	})
}

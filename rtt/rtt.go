// Package rtt estimates round trips from network coordinates and orders
// things by them.
//
// It promises that no coordinate, however broken, can panic, or break an
// order: what cannot be estimated is unknown and sorts last. Coordinates are
// made elsewhere, by the Vivaldi client of serf/coordinate; this package only
// compares them.
package rtt

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/serf/coordinate"
)

// Dimensions is how many a valid coordinate has.
const Dimensions = 8

// maxSeconds bounds what a coordinate may say: no network on Earth is slower.
const maxSeconds = 60

// ErrInvalid is returned by Validate.
var ErrInvalid = errors.New("invalid network coordinate")

// Distance estimates the round trip between two coordinates; false if it is
// unknown: one is nil, not finite, out of range or of other dimensions.
func Distance(a, b *coordinate.Coordinate) (time.Duration, bool) {
	if a == nil || b == nil || len(a.Vec) != len(b.Vec) || !a.IsValid() || !b.IsValid() {
		return 0, false
	}
	var sum float64
	for i := range a.Vec {
		sum += (a.Vec[i] - b.Vec[i]) * (a.Vec[i] - b.Vec[i])
	}
	d := math.Sqrt(sum) + a.Height + b.Height
	// The adjustments count only while the result stays positive, as in
	// coordinate.DistanceTo, which panics and overflows where this does not.
	if adjusted := d + a.Adjustment + b.Adjustment; adjusted > 0 {
		d = adjusted
	}
	if math.IsNaN(d) || d < 0 || d > 2*maxSeconds {
		return 0, false
	}
	return time.Duration(d * float64(time.Second)), true
}

// Validate says whether a coordinate that came from outside may be stored:
// 8 dimensions, all finite and below a minute.
func Validate(c *coordinate.Coordinate) error {
	if c == nil {
		return fmt.Errorf("%w: missing", ErrInvalid)
	}
	if len(c.Vec) != Dimensions {
		return fmt.Errorf("%w: %d dimensions, %d needed", ErrInvalid, len(c.Vec), Dimensions)
	}
	for _, f := range append(slices.Clone(c.Vec), c.Error, c.Adjustment, c.Height) {
		if math.IsNaN(f) || math.Abs(f) > maxSeconds {
			return fmt.Errorf("%w: %v is out of range", ErrInvalid, f)
		}
	}
	if c.Height < 0 || c.Error < 0 {
		return fmt.Errorf("%w: negative height or error", ErrInvalid)
	}
	return nil
}

// SortByDistance orders items by their distance from a coordinate, nearest
// first; the order among equals and among unknowns, which come last, stays.
func SortByDistance[T any](items []T, from *coordinate.Coordinate, of func(T) *coordinate.Coordinate) {
	type ranked struct {
		item     T
		distance time.Duration
	}
	list := make([]ranked, len(items))
	for i, item := range items {
		d, ok := Distance(from, of(item))
		if !ok {
			d = math.MaxInt64
		}
		list[i] = ranked{item, d}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return cmp.Compare(a.distance, b.distance) })
	for i := range list {
		items[i] = list[i].item
	}
}

package gossip

import (
	"math"
	"testing"

	"github.com/hashicorp/serf/coordinate"
)

func TestCoordinatesSurviveThePacket(t *testing.T) {
	c := coordinate.NewCoordinate(coordinate.DefaultConfig())
	c.Vec[0], c.Vec[7], c.Adjustment, c.Height = 0.1, -0.2, -0.003, 0.0004
	got, err := decodeCoordinate(encodeCoordinate(c))
	if err != nil || got.DistanceTo(c) != c.DistanceTo(c) || got.Error != c.Error || got.Vec[7] != c.Vec[7] {
		t.Fatalf("%+v, %v", got, err)
	}
	c.Vec[1] = math.NaN()
	if _, err := decodeCoordinate(encodeCoordinate(c)); err == nil {
		t.Fatal("a NaN was accepted")
	}
}

func FuzzDecodeCoordinate(f *testing.F) {
	f.Add(encodeCoordinate(coordinate.NewCoordinate(coordinate.DefaultConfig())))
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCoordinate(b)
		if err != nil {
			return
		}
		if !c.IsValid() || len(c.Vec) > maxDimensions {
			t.Fatalf("%+v", c)
		}
	})
}

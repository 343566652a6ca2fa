package gossip

import (
	"math"
	"testing"
)

// Whatever a member says its feature level is, it is a number: the lowest where it makes
// no sense, so that nothing is written that it might not know.
func TestALevelThatMakesNoSenseIsTheLowest(t *testing.T) {
	for text, want := range map[string]uint16{
		"": 1, "0": 1, "1": 1, "2": 2, "65535": math.MaxUint16, "65536": 1, "-2": 1, "+2": 1, "0x2": 1, "2.5": 1, " 2": 1, "99999999999999999999": 1, "two\x00\x1b[2J": 1,
	} {
		m := Member{Name: "s1", Tags: Server{ID: "id", Datacenter: "dc1", RPCPort: 8300}.Tags()}
		m.Tags[tagLevel] = text
		if s, ok := ServerOf(m); !ok || s.Level != want {
			t.Errorf("level %q is read as %d (%v), want %d", text, s.Level, ok, want)
		}
	}
}

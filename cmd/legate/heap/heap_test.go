package heap

import "testing"

func TestRoomForGarbage(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 300}, {20 << 20, 300}, {40 << 20, 300}, {80 << 20, 100}, {120 << 20, 50}, {1 << 30, 50}} {
		if got := percent(c.live); got != c.want {
			t.Errorf("%d MiB live: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}

// The pace follows the heap from collection to collection.
func TestPaceFollowsTheHeap(t *testing.T) {
	if percent(60<<20) >= percent(50<<20) {
		t.Error("more is live and no less garbage is allowed")
	}
}

package agentcmd

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestRoomForGarbage(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 300}, {20 << 20, 300}, {40 << 20, 120}, {80 << 20, 50}, {120 << 20, 50}, {1 << 30, 50}} {
		if got := percent(c.live); got != c.want {
			t.Errorf("%d MiB live: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}

// The pace follows the heap from collection to collection.
func TestPaceFollowsTheHeap(t *testing.T) {
	before := debug.SetGCPercent(most)
	defer debug.SetGCPercent(before)
	paceGC()
	large := make([]byte, goal+least)
	tick, over := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	want := percent(goal + least)
	for {
		runtime.GC()
		now := debug.SetGCPercent(want)
		if now <= want+2 && now >= want-2 && large[0] == 0 {
			break
		}
		debug.SetGCPercent(now)
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("%d MiB are live and the pace is %d %%", len(large)>>20, now)
		}
	}
	runtime.KeepAlive(large)
}

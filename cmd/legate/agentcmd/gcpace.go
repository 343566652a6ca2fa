package agentcmd

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Room for garbage, in bytes.
const (
	// goal is the size up to which the heap may grow without much thought.
	goal = 88 << 20
	// least is left for garbage however large the live heap is.
	least = 40 << 20
	// most is the largest ratio of garbage to what is live, in percent.
	most = 300
)

// paceGC sets the pace of the garbage collector by the size of what is live, now and
// after each collection, for as long as the process lives: a small process collects
// seldom, which is a third of the cost of short requests, and a large one does not
// grow to several times what it holds.
func paceGC() {
	adjust()
	again()
}

// sentinel is garbage at once; its finalizer runs after each collection.
type sentinel struct{ _ [16]byte }

func again() {
	runtime.SetFinalizer(&sentinel{}, func(*sentinel) {
		adjust()
		again()
	})
}

func adjust() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	debug.SetGCPercent(percent(sample[0].Value.Uint64()))
}

// percent is how much garbage there may be for so many live bytes.
func percent(live uint64) int {
	live = max(live, 4<<20)
	room := uint64(least)
	if live < goal {
		room = max(room, goal-live)
	}
	room = max(room, live/2)
	return int(min(room*100/live, most))
}

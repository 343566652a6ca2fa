//go:build linux

package relay

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkCarry is what the middle of a flow costs: the goroutine that reads and sends
// on is busy with nothing else, and says what it took of a core. What comes is more than
// it can carry; how the sender spends is not counted, and
// nobody reads at the end: the kernel drops what it has no room for.
func BenchmarkCarry(b *testing.B) {
	for name, size := range map[string]int{"200": 200, "1200": 1200} {
		for mode, segment := range map[string]int{"alone": 1, "trains": 10} {
			b.Run(name+"/"+mode, func(b *testing.B) { carry(b, size, segment) })
		}
	}
}

func carry(b *testing.B, size, train int) {
	from, g, to := listen(b), listen(b), listen(b)
	toEnd, _ := connect(b, nil, from, g, to)
	_ = g.SetReadBuffer(8 << 20)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() { // the sender
		defer close(done)
		packet := make([]byte, size*train)
		oob := withSegments(nil, size, len(packet))
		for !stop.Load() {
			_, _, _ = from.WriteMsgUDP(packet, oob, toEnd)
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ResetTimer()
	began, carried := threadTime(b), uint64(0)
	ms := newMessages(1)
	label := g.board.next
	for carried < uint64(b.N) {
		// Nothing is for QUIC: each read is one batch that is sent on.
		_ = g.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := g.ReadBatch(ms, 0); err != nil {
			if e, ok := err.(net.Error); !ok || !e.Timeout() {
				b.Fatal(err)
			}
		}
		carried = 0
		for i := uint16(1); i <= label; i++ {
			carried += g.board.flows[i].Load().count.packets.Load()
		}
	}
	spent := threadTime(b) - began
	b.StopTimer()
	stop.Store(true)
	<-done
	b.ReportMetric(float64(carried)/spent.Seconds(), "packets/core-s")
	b.ReportMetric(float64(carried)*float64(size)*8/spent.Seconds()/1e9, "Gbit/core-s")
}

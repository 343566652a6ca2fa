package relay

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is what the calling thread took of processors.
func threadTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package wanem

import (
	"syscall"
	"time"
)

// pause sleeps for d, to some 60 µs. It may end early.
func pause(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // interrupted: the caller looks at the clock
}

package sdnotify

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that the service manager reads, too.
func monotonic() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

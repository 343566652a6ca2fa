//go:build !linux

package wanem

import "time"

// pause sleeps for d, as exactly as the system's timers are.
func pause(d time.Duration) { time.Sleep(d) }

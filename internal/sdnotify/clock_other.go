//go:build !linux

package sdnotify

import (
	"errors"
	"time"
)

// monotonic has nobody to be compared with: there is no such service manager here.
func monotonic() (time.Duration, error) {
	return 0, errors.New("only systemd on Linux is told of reloads")
}

//go:build linux

package proctest

import (
	"testing"
	"time"
)

// pollPeriod is the time between two looks of Until.
const pollPeriod = 50 * time.Millisecond

// maxSaid is how many different errors Until shows while it waits.
const maxSaid = 10

// Until calls try until it returns nil and returns how long that took. The
// test ends here, with the last error, when the time is over.
func Until(t testing.TB, timeout time.Duration, what string, try func() error) time.Duration {
	t.Helper()
	begin := time.Now()
	var last string
	var said int
	tick := time.NewTicker(pollPeriod)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return time.Since(begin)
		}
		if text := err.Error(); text != last && said < maxSaid {
			last = text
			said++
			t.Logf("%s: not yet after %s: %s: %s", time.Now().UTC().Format("15:04:05.000"), time.Since(begin).Round(time.Millisecond), what, text)
		}
		if time.Since(begin) > timeout {
			t.Fatalf("not within %s: %s: %v", timeout, what, err)
		}
		<-tick.C
	}
}

package labcmd

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Whoever interrupts the lab hears that it stops, also while it still starts,
// and need not wait for it.
func TestTheLabIsInterrupted(t *testing.T) {
	failed := errors.New("disk on fire")
	for _, c := range []struct {
		name    string
		signals int
		end     error // what the lab returns once it is asked to end
		want    string
	}{
		{"ends cleanly", 1, nil, ""},
		{"fails to end", 1, failed, "disk on fire"},
		{"does not end", 2, nil, "second signal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			signals, ended := make(chan os.Signal, c.signals), make(chan error, 1)
			for range c.signals {
				signals <- syscall.SIGINT
			}
			cancel := func() {
				if c.signals == 1 {
					ended <- c.end
				}
			}
			err := attend(&out, signals, cancel, ended)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if strings.Count(out.String(), "Stopping the lab") != 1 {
				t.Errorf("said %q", out.String())
			}
		})
	}
	ended := make(chan error, 1)
	ended <- failed
	if err := attend(&bytes.Buffer{}, nil, func() { t.Error("a lab that failed by itself is asked to end") }, ended); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
}

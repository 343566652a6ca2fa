package httpapi

import (
	"net"
	"strings"
	"testing"
	"time"
)

// A client that opened a connection and never asked must not hold up the stop,
// nor have it fail.
func TestStopDoesNotWaitForConnectionsWithoutARequest(t *testing.T) {
	w := start(t)
	url, stop := serving(t, w)
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	begun := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

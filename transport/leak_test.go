package transport

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestCloseLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	closeEndpoint(t, a)
	closeEndpoint(t, b)
	goleak.VerifyNone(t, before)
}

func TestFailedOpeningLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	if _, err := New(Config{Conn: listenUDP(t, "127.0.0.1:0")}); err == nil {
		t.Fatal("an endpoint without an identity was opened")
	}
	conn := listenUDP(t, "127.0.0.1:0")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := New(Config{Conn: conn, Identity: derived(t, testKey(1), server("a"))}); err == nil {
		closeEndpoint(t, e)
	}
	goleak.VerifyNone(t, before)
}

package relay

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// cutsNone has the kernel refuse to cut what is sent by a socket: it does so only with
// checksums.
func cutsNone(t testing.TB, c *net.UDPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }); err != nil || set != nil {
		t.Fatal(err, set)
	}
}

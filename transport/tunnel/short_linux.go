package tunnel

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// short has the packets of a socket be small: those that it sends, and by what it tells the peer
// also those that come.
func short(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = os.NewSyscallError("setsockopt TCP_MAXSEG", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, segment))
	})
	if err != nil {
		return err
	}
	return set
}

package greeting

import (
	"context"
	"net"
	"time"
)

const (
	// sends is how many packets a probe sends at most, apart by sendEvery: one or two may be lost.
	sends     = 4
	sendEvery = 250 * time.Millisecond
)

// Probe reports whether an endpoint answers within a second, asked from a socket of its own,
// which is bound to local if that is not nil.
func Probe(ctx context.Context, at *net.UDPAddr, local net.IP) bool {
	d := net.Dialer{}
	if local != nil {
		d.LocalAddr = &net.UDPAddr{IP: local}
	}
	c, err := d.DialContext(ctx, "udp", at.String())
	if err != nil {
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	b := make([]byte, 256)
	for i := range sends {
		_, _ = c.Write(Packet(MinSize, byte(i))) // refused, or filtered: the next may not be
		until := time.Now().Add(sendEvery)
		for ctx.Err() == nil && time.Now().Before(until) {
			_ = c.SetReadDeadline(until)
			n, err := c.Read(b)
			if err != nil {
				continue // the time is over, or the host says that nobody is there
			}
			if _, ok := Answered(b[:n]); ok {
				return true
			}
		}
	}
	return false
}

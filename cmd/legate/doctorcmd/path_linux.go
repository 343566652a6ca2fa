package doctorcmd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/legate-project/legate/transport/greeting"
)

const (
	pathRounds = 3
	pathWait   = 700 * time.Millisecond // for answers, in each round
)

// measurePaths sends packets of several sizes that must not be divided, of a version of
// QUIC that nobody speaks: each that arrives is answered with the versions that are (RFC 9000
// 6.1), and nothing comes of it.
func measurePaths(ctx context.Context, paths []path, bind string) string {
	var g errgroup.Group
	g.SetLimit(pathsAtOnce)
	for i := range paths {
		g.Go(func() error {
			paths[i].measure(ctx, bind)
			return nil
		})
	}
	_ = g.Wait() // each keeps its error
	return ""
}

// measure finds out which sizes are answered.
func (p *path) measure(ctx context.Context, bind string) {
	d := net.Dialer{Control: undivided, Timeout: pathWait}
	if a, err := netip.ParseAddr(bind); err == nil && !a.IsUnspecified() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	c, err := d.DialContext(ctx, "udp", p.addr)
	if err != nil {
		p.err = err
		return
	}
	defer c.Close()
	sizes := pathSizes()
	answered := make([]bool, len(sizes))
	for range pathRounds {
		for i, n := range sizes {
			if answered[i] {
				continue
			}
			if _, err := c.Write(greeting.Packet(n, byte(i))); err != nil && !errors.Is(err, syscall.EMSGSIZE) && !errors.Is(err, syscall.ECONNREFUSED) {
				p.err = err
				return
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(pathWait)); err != nil {
			p.err = err
			return
		}
		for slices.Contains(answered, false) {
			b := make([]byte, 1500)
			n, err := c.Read(b)
			if errors.Is(err, syscall.ECONNREFUSED) {
				continue // one such answer to each packet at most
			}
			if err != nil {
				break
			}
			if i, ok := greeting.Answered(b[:n]); ok && i < len(answered) {
				answered[i] = true
			}
		}
		if ctx.Err() != nil || !slices.Contains(answered, false) {
			break
		}
	}
	for i, n := range sizes {
		if answered[i] {
			p.largest = n
		} else if p.smallest == 0 {
			p.smallest = n
		}
	}
}

// undivided has packets of a socket sent whole or not at all, however large the kernel
// takes the way to be.
func undivided(network, _ string, c syscall.RawConn) error {
	var err error
	failed := c.Control(func(fd uintptr) {
		if network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	return errors.Join(failed, err)
}

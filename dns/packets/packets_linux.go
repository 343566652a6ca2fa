package packets

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is the room for what the kernel says beside a packet: where it was sent to, in
// the terms of both versions of IP.
const controlSize = 128

// peer is who sent a packet, and where to, as the kernel says it and takes it back.
type peer struct {
	name    unix.RawSockaddrInet6 // or one of IPv4, which is shorter
	nameLen uint32
	control [controlSize]byte
	// infoAt and infoLen say where in control it stands which address was asked.
	infoAt, infoLen int
}

func (p *peer) take(o *peer) { *p = *o }

func (p *peer) from() netip.Addr {
	switch p.name.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&p.name)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16(p.name.Addr).Unmap()
	}
	return netip.Addr{}
}

// asked finds the address that was asked in the first n bytes of control. An answer goes from
// there, through the interface that leads to who asked.
func (p *peer) asked(n int) {
	p.infoLen = 0
	for at := 0; at+unix.CmsgLen(0) <= n; {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&p.control[at]))
		size := int(h.Len)
		if size < unix.CmsgLen(0) || at+size > n {
			return
		}
		data := at + unix.CmsgLen(0)
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && size >= unix.CmsgLen(unix.SizeofInet4Pktinfo) && p.infoLen == 0:
			(*unix.Inet4Pktinfo)(unsafe.Pointer(&p.control[data])).Ifindex = 0
			p.infoAt, p.infoLen = at, unix.CmsgSpace(unix.SizeofInet4Pktinfo)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && size >= unix.CmsgLen(unix.SizeofInet6Pktinfo):
			(*unix.Inet6Pktinfo)(unsafe.Pointer(&p.control[data])).Ifindex = 0
			p.infoAt, p.infoLen = at, unix.CmsgSpace(unix.SizeofInet6Pktinfo)
		}
		at += unix.CmsgSpace(size - unix.CmsgLen(0))
	}
}

// message is struct mmsghdr.
type message struct {
	unix.Msghdr
	n uint32
}

// Conn is a socket.
type Conn struct {
	raw     syscall.RawConn
	several bool
}

// New returns a Conn for the socket, which stays the caller's.
func New(conn *net.UDPConn) (*Conn, error) {
	several, err := several(conn)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("use the socket: %w", err)
	}
	return &Conn{raw: raw, several: several}, nil
}

// Batch is some packets that are read and written together, by one at a time.
type Batch struct {
	Packets []Packet
	conn    *Conn
	in, out []message
	iin     []unix.Iovec
	iout    []unix.Iovec
	recv    func(fd uintptr) bool
	send    func(fd uintptr) bool
	n       int
	rest    []message
	err     error
}

// Batch returns room for n packets of at most size bytes; what is longer is cut.
func (c *Conn) Batch(n, size int) *Batch {
	b := &Batch{Packets: make([]Packet, n), conn: c, in: make([]message, n), out: make([]message, n), iin: make([]unix.Iovec, n), iout: make([]unix.Iovec, n)}
	room := make([]byte, n*size)
	for i := range b.Packets {
		b.Packets[i].buf = room[i*size : (i+1)*size : (i+1)*size]
	}
	b.recv, b.send = b.receive, b.transmit
	return b
}

// Read waits for packets and returns how many have come.
func (b *Batch) Read() (int, error) {
	for i := range b.in {
		p, m := &b.Packets[i], &b.in[i]
		b.iin[i].Base = &p.buf[0]
		b.iin[i].SetLen(len(p.buf))
		m.Iov = &b.iin[i]
		m.SetIovlen(1)
		m.Name, m.Namelen = (*byte)(unsafe.Pointer(&p.name)), uint32(unsafe.Sizeof(p.name))
		if b.conn.several {
			m.Control = &p.control[0]
			m.SetControllen(controlSize)
		}
	}
	b.n, b.err = 0, nil
	if err := b.conn.raw.Read(b.recv); err != nil {
		return 0, err
	}
	if b.err != nil {
		return 0, b.err
	}
	for i := range b.Packets[:b.n] {
		p, m := &b.Packets[i], &b.in[i]
		p.In, p.Out, p.nameLen = p.buf[:m.n], nil, m.Namelen
		if b.conn.several {
			p.asked(int(m.Controllen))
		}
	}
	return b.n, nil
}

func (b *Batch) receive(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			b.err = errno
			return true
		}
	}
}

// Write sends the answers of the first n packets. It returns how many could not be sent.
func (b *Batch) Write(n int) (failed int) {
	out := b.out[:0]
	for i := range b.Packets[:n] {
		p := &b.Packets[i]
		if len(p.Out) == 0 {
			continue
		}
		v := &b.iout[len(out)]
		v.Base = &p.Out[0]
		v.SetLen(len(p.Out))
		m := message{}
		m.Iov = v
		m.SetIovlen(1)
		m.Name, m.Namelen = (*byte)(unsafe.Pointer(&p.name)), p.nameLen
		if b.conn.several && p.infoLen > 0 {
			m.Control = &p.control[p.infoAt]
			m.SetControllen(p.infoLen)
		}
		out = append(out, m)
	}
	for len(out) > 0 {
		b.rest, b.n, b.err = out, 0, nil
		if err := b.conn.raw.Write(b.send); err != nil {
			return failed + len(out)
		}
		out = out[b.n:]
		if b.err != nil && len(out) > 0 { // the first of those that are left cannot be sent
			failed, out = failed+1, out[1:]
		}
	}
	return failed
}

func (b *Batch) transmit(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.rest[0])), uintptr(len(b.rest)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			b.err = errno
			return true
		}
	}
}

// Siblings opens up to n more sockets on the address of one, among which the kernel shares out
// what comes by who sent it. What cannot be had is left out. The first socket was bound alone, so
// that nobody else's is among them.
func Siblings(ctx context.Context, conn *net.UDPConn, n int) (out []*net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil || n <= 0 || reuse(raw) != nil {
		return nil
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return reuse(c) }}
	for range n {
		c, err := lc.ListenPacket(ctx, network(conn), conn.LocalAddr().String())
		if err != nil {
			return out
		}
		out = append(out, c.(*net.UDPConn))
	}
	return out
}

// network is that of a socket: one for all addresses of both versions of IP says so itself.
func network(conn *net.UDPConn) string {
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok && a.IP.To4() != nil {
		return "udp4"
	}
	return "udp"
}

func reuse(c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
		return fmt.Errorf("use the socket: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("share the port: %w", failed)
	}
	return nil
}

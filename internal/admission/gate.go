// Package admission bounds what peers hold of a port before anybody knows who they are:
// how many connections there are, of one address and in all, how many of them may still
// be proving who they are, and how long that may take.
//
// It knows neither protocols nor identities: who uses it says when a connection is proven.
package admission

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Why a connection is not let in.
var (
	// ErrAddress: its address has as many connections as one may have.
	ErrAddress = errors.New("too many connections from this address")
	// ErrProving: too many others are still proving who they are. It passes.
	ErrProving = errors.New("too many connections are being made")
	// ErrFull: there are as many connections as the port has.
	ErrFull = errors.New("too many connections")
)

// provingShare is which part of the connections that may be proving themselves at a time
// those of one address may be, so that one cannot keep all others out.
const provingShare = 8

// Bounds of a Gate; 0 is no bound.
type Bounds struct {
	Total   int // connections
	Each    int // connections of one address; those without any are not bounded
	Proving int // connections that are not proven yet; of one address an eighth
}

// Gate counts the connections of a port. It is safe for concurrent use.
type Gate struct {
	refused func(error) // nil for nobody to be told
	as      func(net.Addr) (netip.Addr, int)

	mu      sync.Mutex
	bounds  Bounds
	open    int
	proving int
	by      map[netip.Addr]counts
}

// counts are the connections of an address.
type counts struct{ open, proving int }

// New returns a gate. refused, if not nil, is told of each connection that is not let in.
func New(b Bounds, refused func(error)) *Gate {
	return &Gate{bounds: b, refused: refused, by: map[netip.Addr]counts{},
		as: func(a net.Addr) (netip.Addr, int) { return AddrOf(a), 1 }}
}

// CountAs has addresses counted together where as returns the same for them, and how many addresses they
// may have the connections of. It is called before the first connection comes, and must not block.
func (g *Gate) CountAs(as func(net.Addr) (one netip.Addr, worth int)) { g.as = as }

// SetEach changes how many connections one address may have. Those that it has stay.
func (g *Gate) SetEach(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bounds.Each = n
}

// Open is how many connections there are, and how many of them are not proven.
func (g *Gate) Open() (all, proving int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.proving
}

// Enter lets a connection in, or says why not: ErrAddress, ErrProving or ErrFull.
func (g *Gate) Enter(from net.Addr) (*Place, error) {
	one, worth := g.as(from)
	p := &Place{g: g, from: one}
	if err := g.enter(one, worth); err != nil {
		if g.refused != nil {
			g.refused(err)
		}
		return nil, err
	}
	return p, nil
}

func (g *Gate) enter(from netip.Addr, worth int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	of, b := g.by[from], g.bounds
	switch {
	case b.Each > 0 && from.IsValid() && of.open >= b.Each*worth:
		return ErrAddress
	case b.Proving > 0 && (g.proving >= b.Proving || of.proving >= max(1, b.Proving/provingShare)*worth):
		return ErrProving
	case b.Total > 0 && g.open >= b.Total:
		return ErrFull
	}
	g.change(from, 1, 1)
	return nil
}

// change is called with the mutex held.
func (g *Gate) change(from netip.Addr, open, proving int) {
	g.open += open
	g.proving += proving
	of := g.by[from]
	of.open += open
	of.proving += proving
	if of.open == 0 {
		delete(g.by, from)
		return
	}
	g.by[from] = of
}

// Place is that of one connection. It is safe for concurrent use.
type Place struct {
	g    *Gate
	from netip.Addr

	proven, left bool // of the gate's mutex
}

// Proven says that who is at the other end has proven who it is.
func (p *Place) Proven() {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if !p.proven && !p.left {
		p.proven = true
		p.g.change(p.from, 0, -1)
	}
}

// IsProven reports whether Proven was called before Leave.
func (p *Place) IsProven() bool {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return p.proven
}

// Leave gives the place back, once.
func (p *Place) Leave() {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	proving := -1
	if p.proven {
		proving = 0
	}
	p.g.change(p.from, -1, proving)
}

// AddrOf is the IP address of the other end of a connection; the zero Addr where it has
// none: all who use a socket of the file system are one.
func AddrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	if a == nil {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

package agent

import (
	"net/netip"
	"sync"
)

// places bounds how many of something each client address has at once. It is safe
// for concurrent use.
type places struct {
	max int
	mu  sync.Mutex
	by  map[netip.Addr]int
}

// newPlaces allows each address so many.
func newPlaces(max int) *places { return &places{max: max, by: map[netip.Addr]int{}} }

// take takes a place unless the address has all of its own. leave it after use.
func (p *places) take(addr netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[addr] >= p.max {
		return false
	}
	p.by[addr]++
	return true
}

// leave gives a place back.
func (p *places) leave(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[addr]--; p.by[addr] <= 0 {
		delete(p.by, addr)
	}
}

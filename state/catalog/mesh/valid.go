package mesh

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Bounds on what a service says to a mesh: it is a part of each answer about
// the service.
const (
	// MaxSize in bytes of a proxy, of a sidecar, and of AI: several times what a
	// proxy with some hundred upstreams, or a bootstrap of Envoy in its Config,
	// takes.
	MaxSize = 128 << 10
	// MaxPorts of a service: names of ports are asked for by DNS one by one, and
	// a name has 63 bytes.
	MaxPorts = 64

	maxLocality = 128 // bytes of a region or a zone
	maxPort     = 65535
)

// IsZero reports whether there are none.
func (ps Ports) IsZero() bool { return len(ps) == 0 }

// Valid says what is wrong with the ports of a service.
func (ps Ports) Valid() error {
	if len(ps) == 0 {
		return nil
	}
	if len(ps) > MaxPorts {
		return fmt.Errorf("Ports: more than %d", MaxPorts)
	}
	names, defaults := map[string]bool{}, 0
	for _, p := range ps {
		switch {
		case strings.TrimSpace(p.Name) == "":
			return errors.New("Ports.Name cannot be empty")
		case len(p.Name) > maxLocality:
			return fmt.Errorf("Ports.Name %.*q is longer than %d bytes", maxLocality, p.Name, maxLocality)
		case p.Port <= 0 || p.Port > maxPort:
			return fmt.Errorf("Ports.Port %d of %q: want 1 to %d", p.Port, p.Name, maxPort)
		case names[p.Name]:
			return fmt.Errorf("Ports.Name %q has to be unique", p.Name)
		}
		names[p.Name] = true
		if p.Default {
			defaults++
		}
	}
	switch {
	case defaults == 0:
		return errors.New("one of the Ports must be marked as Default")
	case defaults > 1:
		return errors.New("only one of the Ports can be marked as Default")
	}
	return nil
}

// Named returns the port that has a name, in whatever case.
func (ps Ports) Named(name string) (int, bool) {
	for _, p := range ps {
		if strings.EqualFold(p.Name, name) {
			return p.Port, true
		}
	}
	return 0, false
}

// Main returns the default among the ports, 0 if there are none.
func (ps Ports) Main() int {
	for _, p := range ps {
		if p.Default {
			return p.Port
		}
	}
	return 0
}

// Valid says what is wrong with a place; nil is none.
func (l *Locality) Valid() error {
	if l != nil && (len(l.Region) > maxLocality || len(l.Zone) > maxLocality) {
		return fmt.Errorf("Locality: a region or zone is longer than %d bytes", maxLocality)
	}
	return nil
}

// Valid says what is wrong with the form of what a service says to a mesh; a
// may be nil.
func Valid(p *Proxy, c *Connect, a *AI) error {
	size := p.Msgsize() + c.Msgsize()
	if a != nil {
		size += a.Msgsize()
	}
	if size > MaxSize {
		return fmt.Errorf("Proxy, Connect and AI take %d bytes, at most %d may be", size, MaxSize)
	}
	if err := cmp.Or(p.Config.valid("Proxy.Config"), c.SidecarService.valid("Connect.SidecarService")); err != nil {
		return err
	}
	for i := range p.EnvoyExtensions {
		if err := p.EnvoyExtensions[i].Arguments.valid("Proxy.EnvoyExtensions.Arguments"); err != nil {
			return err
		}
	}
	for i := range p.Upstreams {
		if err := p.Upstreams[i].Config.valid("Proxy.Upstreams.Config"); err != nil {
			return err
		}
	}
	return nil
}

// valid looks at what came as MessagePack: it is text, but any.
func (f FreeForm) valid(what string) error {
	if f == nil {
		return nil
	}
	if again, err := NewFreeForm(f); err != nil || !bytes.Equal(again, f) {
		return fmt.Errorf("%s is no object in its form", what)
	}
	return nil
}

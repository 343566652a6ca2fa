package local

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// SidecarSuffix follows the ID and the name of a service in those of its
// sidecar: clients know it by them.
const SidecarSuffix = "-sidecar-proxy"

// sidecarInterval is between two looks at whether a sidecar listens.
const sidecarInterval = 10 * time.Second

// AddService registers a service with its checks, or changes it. Checks that
// it has and that the definition does not name stay. A sidecar in it is
// registered as a service of its own, that goes with it.
func (s *State) AddService(def config.ServiceDefinition) error { return s.addBoth(def, keepOthers) }

// ReplaceService is AddService, but checks that the definition does not name
// go. Maintenance stays.
func (s *State) ReplaceService(def config.ServiceDefinition) error {
	return s.addBoth(def, dropOthers)
}

func (s *State) addBoth(def config.ServiceDefinition, rest others) error {
	defs, err := s.withSidecar(def)
	if err != nil {
		return err
	}
	for i := range defs[1:] {
		side := defs[1+i]
		if _, _, err := s.validService(&side, false); err != nil {
			return err
		}
	}
	for _, d := range defs {
		if err := s.addService(d, false, rest); err != nil {
			return err
		}
	}
	if len(defs) > 1 {
		return nil
	}
	return s.removeSidecar(orElse(def.ID, def.Name))
}

// Registered are the services that AddService registers for a definition, itself and
// perhaps its sidecar, with the IDs that they and their checks go by.
func (s *State) Registered(def config.ServiceDefinition) ([]config.ServiceDefinition, error) {
	defs, err := s.withSidecar(def)
	for i := range defs {
		d := &defs[i]
		d.ID = orElse(d.ID, d.Name)
		d.Checks = serviceChecks(d)
	}
	return defs, err
}

// RemoveService deregisters a service with its checks and its sidecar.
func (s *State) RemoveService(id string) error {
	if err := s.removeService(id); err != nil {
		return err
	}
	return s.removeSidecar(id)
}

// removeSidecar deregisters the sidecar with which a service was registered, if
// there is one.
func (s *State) removeSidecar(id string) error {
	s.mu.Lock()
	side := s.services[id+SidecarSuffix]
	has := side != nil && side.def.SidecarOf == id
	s.mu.Unlock()
	if !has {
		return nil
	}
	if err := s.removeService(id + SidecarSuffix); !errors.Is(err, ErrUnknownService) {
		return err
	}
	return nil // somebody else was faster
}

// withSidecars is withSidecar for all services of the configuration files.
func (s *State) withSidecars(defs []config.ServiceDefinition) ([]config.ServiceDefinition, error) {
	var all []config.ServiceDefinition
	var errs []error
	for _, d := range defs {
		some, err := s.withSidecar(d, all...)
		if err != nil {
			errs = append(errs, fmt.Errorf("service %q: %w", d.Name, err))
		}
		all = append(all, some...)
	}
	return all, errors.Join(errs...)
}

// withSidecar takes the sidecar out of a definition: it follows as one of its
// own, with what it does not say itself. Others are about to be registered.
func (s *State) withSidecar(def config.ServiceDefinition, others ...config.ServiceDefinition) ([]config.ServiceDefinition, error) {
	text := def.Connect.SidecarService
	if text == nil {
		return []config.ServiceDefinition{def}, nil
	}
	def.Connect.SidecarService = nil
	side, err := config.ServiceFromJSON(text)
	switch {
	case err != nil:
		return nil, invalid("Connect.SidecarService: %v", err)
	case side.ID != "":
		return nil, invalid("Connect.SidecarService: an ID cannot be chosen, it is that of the service with %s", SidecarSuffix)
	case side.Connect.SidecarService != nil:
		return nil, invalid("Connect.SidecarService: a sidecar has none itself")
	case side.Kind != "" && side.Kind != mesh.ConnectProxy:
		return nil, invalid("Connect.SidecarService: the kind of a sidecar is %s, not %q", mesh.ConnectProxy, side.Kind)
	}
	completeSidecar(side, &def)
	if side.Port == 0 && len(side.Ports) == 0 && side.SocketPath == "" {
		if side.Port = s.sidecarPort(side.ID, others); side.Port == 0 {
			return nil, invalid("Connect.SidecarService: all ports from %d to %d are taken, choose one", s.cfg.SidecarPorts[0], s.cfg.SidecarPorts[1])
		}
	}
	if len(side.Checks) == 0 {
		side.Checks = []config.CheckDefinition{{Name: "Connect Sidecar Aliasing " + side.SidecarOf, AliasService: side.SidecarOf}}
		if side.SocketPath == "" {
			at := net.JoinHostPort(orElse(side.Address, "127.0.0.1"), strconv.Itoa(max(side.Port, side.Ports.Main())))
			side.Checks = slices.Insert(side.Checks, 0, config.CheckDefinition{Name: "Connect Sidecar Listening", TCP: at, Interval: sidecarInterval})
		}
	}
	return []config.ServiceDefinition{def, *side}, nil
}

// completeSidecar sets what a sidecar takes from its service.
func completeSidecar(side, of *config.ServiceDefinition) {
	id := orElse(of.ID, of.Name)
	side.ID, side.SidecarOf, side.Kind = id+SidecarSuffix, id, mesh.ConnectProxy
	side.Name, side.Token = orElse(side.Name, of.Name+SidecarSuffix), orElse(side.Token, of.Token)
	if side.Tags == nil {
		side.Tags = slices.Clone(of.Tags)
	}
	if side.Meta == nil {
		side.Meta = of.Meta
	}
	if side.Locality == nil {
		side.Locality = of.Locality
	}
	p := &side.Proxy
	p.DestinationServiceName, p.DestinationServiceID = orElse(p.DestinationServiceName, of.Name), orElse(p.DestinationServiceID, id)
	if p.LocalServiceSocketPath != "" || of.SocketPath != "" {
		p.LocalServiceSocketPath = orElse(p.LocalServiceSocketPath, of.SocketPath)
		return
	}
	p.LocalServiceAddress = orElse(p.LocalServiceAddress, "127.0.0.1")
	if p.LocalServicePort == 0 {
		p.LocalServicePort = max(of.Port, of.Ports.Main())
	}
}

// sidecarPort chooses a port: the one that the sidecar has already, else the first
// that no service of this agent has. 0 is none.
func (s *State) sidecarPort(id string, others []config.ServiceDefinition) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := s.cfg.SidecarPorts[0], s.cfg.SidecarPorts[1]
	taken := map[int]bool{}
	for other, svc := range s.services {
		if other != id {
			taken[svc.record.Port] = true
		}
	}
	for i := range others {
		taken[others[i].Port] = true
	}
	if old := s.services[id]; old != nil && old.record.Port >= first && old.record.Port <= last && !taken[old.record.Port] {
		return old.record.Port
	}
	for port := max(first, 1); port <= last; port++ {
		if !taken[port] {
			return port
		}
	}
	return 0
}

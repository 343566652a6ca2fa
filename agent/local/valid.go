package local

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// Bounds on one registration, at most what the catalog takes: what it would
// refuse is refused at once and not each time that it is sent.
const (
	maxName      = 512  // bytes of an ID or name
	maxTags      = 1024 // of a service
	maxTag       = 4096 // bytes of a tag or an address
	maxMeta      = 64   // pairs
	maxMetaKey   = 128  // bytes
	maxMetaValue = 512  // bytes
	maxAddresses = 64   // tagged addresses of a service
	maxNotes     = 4096 // bytes of a check's notes
	maxWeight    = 65535
	maxPort      = 65535
)

// validService completes a definition, and returns what the catalog is to hold
// of the service and its checks, or why that cannot be.
func (s *State) validService(d *config.ServiceDefinition, file bool) (catalog.Service, []config.CheckDefinition, error) {
	if d.ID == "" {
		d.ID = d.Name
	}
	if err := serviceFault(d); err != nil {
		return catalog.Service{}, nil, &InvalidError{err.Error()}
	}
	defs := serviceChecks(d)
	d.Checks = slices.Clone(defs) // with the IDs that they go by from now on
	ids := map[string]bool{}
	for i := range defs {
		if err := s.validCheck(&defs[i], file); err != nil {
			return catalog.Service{}, nil, err
		}
		if ids[defs[i].ID] {
			return catalog.Service{}, nil, invalid("the check ID %q is given twice", defs[i].ID)
		}
		ids[defs[i].ID] = true
	}
	return serviceRecord(d), defs, nil
}

// serviceFault says what is wrong with a definition, its checks aside.
func serviceFault(d *config.ServiceDefinition) error {
	switch {
	case d.Name == "":
		return errors.New("Missing service name")
	case len(d.Name) > maxName || len(d.ID) > maxName:
		return fmt.Errorf("Invalid service name or ID: longer than %d bytes", maxName)
	case unprintable(d.Name) || unprintable(d.ID):
		return fmt.Errorf("Invalid service name or ID %q: it has characters that cannot be printed", d.ID)
	case d.Address == "0.0.0.0" || d.Address == "::" || d.Address == "[::]" || len(d.Address) > maxTag:
		return errors.New("Invalid service address")
	case d.Port < 0 || d.Port > maxPort:
		return fmt.Errorf("Invalid service port %d", d.Port)
	case d.SocketPath != "" && (d.Address != "" || d.Port != 0 || len(d.Ports) > 0):
		return errors.New("Invalid service: SocketPath excludes Address and Port")
	case len(d.SocketPath) > maxTag:
		return fmt.Errorf("Invalid service socket path: longer than %d bytes", maxTag)
	case len(d.Tags) > maxTags || slices.ContainsFunc(d.Tags, func(t string) bool { return len(t) > maxTag }):
		return fmt.Errorf("Invalid service tags: at most %d of at most %d bytes", maxTags, maxTag)
	case len(d.Meta) > maxMeta:
		return fmt.Errorf("Invalid service meta: more than %d pairs", maxMeta)
	case len(d.TaggedAddresses) > maxAddresses:
		return fmt.Errorf("Invalid tagged addresses: more than %d", maxAddresses)
	}
	if w := d.Weights; w != nil && (w.Passing < 1 || w.Passing > maxWeight || w.Warning < 0 || w.Warning > maxWeight) {
		return fmt.Errorf("Invalid service weights: want 1 to %d for Passing and 0 to %d for Warning", maxWeight, maxWeight)
	}
	for k, v := range d.Meta {
		if k == "" || len(k) > maxMetaKey || len(v) > maxMetaValue {
			return fmt.Errorf("Invalid service meta %.*q: want a key of 1 to %d bytes and a value of at most %d", maxMetaKey, k, maxMetaKey, maxMetaValue)
		}
	}
	for tag, a := range d.TaggedAddresses {
		if tag == "" || len(tag) > maxMetaKey || len(a.Address) > maxTag || a.Port < 0 || a.Port > maxPort {
			return fmt.Errorf("Invalid tagged address %.*q: want a tag of 1 to 128 bytes, an address and a port", maxMetaKey, tag)
		}
	}
	return meshFault(d)
}

// unprintable reports whether a name has characters that no URL path may have:
// what it stands for could not be removed.
func unprintable(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// meshFault says what is wrong with what a definition says to a service mesh,
// which is kept, and refuses what belongs to namespaces.
func meshFault(d *config.ServiceDefinition) error {
	switch d.Kind {
	case "", "typical", "connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway":
	default:
		return fmt.Errorf("Invalid service kind %q", d.Kind)
	}
	if err := cmp.Or(d.Ports.Valid(), d.Locality.Valid(), mesh.Valid(&d.Proxy, &d.Connect, d.AI)); err != nil {
		return fmt.Errorf("Invalid service: %w", err)
	}
	if len(d.Ports) > 0 && d.Port != 0 && d.Port != d.Ports.Main() {
		return fmt.Errorf("Invalid service: Port %d is not the default among Ports", d.Port)
	}
	for _, name := range []string{d.Namespace, d.Partition} {
		if name != "" && name != "default" {
			return errors.New("Invalid service: namespaces and partitions are a Consul Enterprise feature")
		}
	}
	return nil
}

// serviceRecord returns what the catalog is to hold of a valid service.
func serviceRecord(d *config.ServiceDefinition) catalog.Service {
	s := catalog.Service{ID: d.ID, Service: d.Name, Tags: d.Tags, Address: d.Address, Meta: d.Meta, Port: d.Port,
		Ports: d.Ports, SocketPath: d.SocketPath, EnableTagOverride: d.EnableTagOverride, Weights: catalog.Weights{Passing: 1, Warning: 1},
		Proxy: d.Proxy, Connect: d.Connect, AI: d.AI, Locality: d.Locality}
	if s.Port == 0 {
		s.Port = s.Ports.Main()
	}
	if d.Kind != "typical" {
		s.Kind = d.Kind
	}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if w := d.Weights; w != nil {
		s.Weights = catalog.Weights{Passing: w.Passing, Warning: w.Warning}
	}
	if len(d.TaggedAddresses) > 0 {
		s.TaggedAddresses = map[string]catalog.ServiceAddress{}
		for tag, a := range d.TaggedAddresses {
			s.TaggedAddresses[tag] = catalog.ServiceAddress{Address: a.Address, Port: a.Port}
		}
	}
	return s
}

// validCheck completes a definition of a client or a file, or says what is wrong with it.
// The IDs by which the agent itself and the datacenter say something of the node are not
// to be had: who may register one service could keep the node from it.
func (s *State) validCheck(d *config.CheckDefinition, file bool) error {
	if err := s.completeCheck(d, file); err != nil {
		return err
	}
	if isMaintenance(d) {
		return invalid("the check ID %q is that of maintenance mode: use /v1/agent/maintenance or /v1/agent/service/maintenance, or choose another ID", d.ID)
	}
	if d.ID == catalog.SerfHealth {
		return invalid("the check ID %q is that of the node's own health: choose another ID", d.ID)
	}
	return nil
}

// completeCheck completes any definition or says what is wrong with it.
func (s *State) completeCheck(d *config.CheckDefinition, file bool) error {
	d.ID, d.Name = orElse(d.ID, d.Name), orElse(d.Name, d.ID)
	switch {
	case d.ID == "":
		return invalid("Missing check name")
	case len(d.ID) > maxName || len(d.Name) > maxName || len(d.ServiceID) > maxName:
		return invalid("Invalid check name or ID: longer than %d bytes", maxName)
	case unprintable(d.ID):
		return invalid("Invalid check ID %q: it has characters that cannot be printed", d.ID)
	case len(d.Notes) > maxNotes:
		return invalid("Invalid check notes: longer than %d bytes", maxNotes)
	}
	switch d.Status {
	case "", checks.Passing, checks.Warning, checks.Critical:
	default:
		return invalid("Bad check status %q: use passing, warning or critical", d.Status)
	}
	for _, name := range []string{d.Namespace, d.Partition} {
		if name != "" && name != "default" {
			return invalid("namespaces and partitions are a Consul Enterprise feature")
		}
	}
	if d.OutputMaxSize == 0 || d.OutputMaxSize > s.cfg.OutputMaxSize {
		d.OutputMaxSize = s.cfg.OutputMaxSize
	}
	return s.guard(d, file)
}

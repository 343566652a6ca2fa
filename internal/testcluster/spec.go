// Package testcluster runs whole federations inside one process: real agents
// on addresses of the loopback network, their WAN traffic through an emulated
// WAN.
//
// It is what tests and `legate lab` share. It injects faults that a process
// can (a stopped agent, a cut or slow link); killing processes and breaking
// disks is for tests that start processes.
package testcluster

import (
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/wanem"
)

// Bounds of a federation in one process.
const (
	maxDatacenters = 50
	maxPerSite     = 100
)

// Spec says what to run.
type Spec struct {
	Datacenters int // named dc1, dc2, …
	Servers     int // of each datacenter
	Clients     int // of each datacenter
	// Network is the second byte of every address: agent n of datacenter d
	// lives on 127.Network.(10+d).n, servers first.
	Network byte
	// Regions takes the round trips between real cloud regions; else RTT is
	// used between all datacenters.
	Regions bool
	RTT     time.Duration
	// Shape says which datacenters reach each other; the zero value is Mesh.
	Shape  Shape
	Loss   float64
	Jitter time.Duration
	Seed   uint64
	// Dir holds the state of the agents; empty keeps it in memory.
	Dir string
	// Key is the gossip key; nil for none.
	Key []byte
	// Access has nobody do anything without a token; nil has no access control.
	Access *Access
	// UI serves the web interface on all agents.
	UI     bool
	Timing agent.Timing
	// Configure changes an agent's configuration before it starts.
	Configure func(*config.Config)
	Log       *slog.Logger
}

// Validate reports everything that is wrong.
func (s *Spec) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.Datacenters >= 1 && s.Datacenters <= maxDatacenters, "-datacenters must be 1 to %d, not %d", maxDatacenters, s.Datacenters)
	check(s.Servers >= 1 && s.Clients >= 0 && s.Servers+s.Clients <= maxPerSite,
		"-servers must be at least 1, and servers and clients of a datacenter at most %d together, not %d and %d", maxPerSite, s.Servers, s.Clients)
	check(s.RTT >= 0 && s.RTT <= 10*time.Second, "-rtt must be 0 to 10s, not %s", s.RTT)
	check(s.Loss >= 0 && s.Loss < 1, "-loss must be 0%% to 99%%")
	check(s.Jitter >= 0 && s.Jitter <= 10*time.Second, "-jitter must be 0 to 10s, not %s", s.Jitter)
	least, known := shapes()[s.Shape]
	check(known, "-shape must be mesh, star, partial, nat or gateways, not %q", s.Shape)
	check(!known || s.Datacenters >= least, "-shape %s has at least %d datacenters, not %d", s.Shape, least, s.Datacenters)
	if s.Regions {
		check(s.Datacenters <= len(Regions()), "the topology regions has %d datacenters, not %d: use -rtt", len(Regions()), s.Datacenters)
	}
	return errors.Join(errs...)
}

// Datacenter returns the name of the i-th datacenter, from 0.
func Datacenter(i int) string { return fmt.Sprintf("dc%d", i+1) }

//go:embed regions.csv
var regionsCSV string

// regionOrder takes the ten regions so that the first few are spread over the
// world: a federation of three has a near and two far neighbours.
var regionOrder = [...]int{3, 0, 8, 4, 1, 7, 9, 2, 5, 6}

// region is one row of the measured round trips.
type region struct {
	name string
	to   []time.Duration
}

func regions() []region {
	r := csv.NewReader(strings.NewReader(regionsCSV))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		panic("testcluster: regions.csv: " + err.Error()) // embedded: checked by a test
	}
	all := make([]region, 0, len(rows)-1)
	for _, row := range rows[1:] {
		to := make([]time.Duration, 0, len(row)-1)
		for _, cell := range row[1:] {
			ms, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				panic("testcluster: regions.csv: " + err.Error())
			}
			to = append(to, time.Duration(ms*float64(time.Millisecond)))
		}
		all = append(all, region{row[0], to})
	}
	return all
}

// Regions names the regions in the order in which datacenters take them.
func Regions() []string {
	all := regions()
	names := make([]string, 0, len(regionOrder))
	for _, i := range regionOrder {
		names = append(names, all[i].name)
	}
	return names
}

// Link returns the emulated link between the i-th and the j-th datacenter.
func (s *Spec) Link(i, j int) wanem.Link {
	l := wanem.Link{RTT: s.RTT, Jitter: s.Jitter, Loss: s.Loss}
	if s.Regions {
		l.RTT = regions()[regionOrder[i]].to[regionOrder[j]]
	}
	return l
}

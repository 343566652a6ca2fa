// Package local is what one agent itself registers: its services and checks.
// It keeps them across restarts, runs the checks, and brings the catalog in
// line (anti-entropy): for this node the agent is the authority.
//
// It knows no HTTP and does not choose servers; it asks an op.Caller.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Why a change of the agent's own services and checks is refused.
var (
	ErrUnknownService = errors.New("unknown service")
	ErrUnknownCheck   = errors.New("unknown check")
	ErrNotTTL         = errors.New("check does not have associated TTL")
	ErrInvalid        = errors.New("invalid definition")
)

// Bounds on what one agent may register.
const (
	maxServices = 1 << 16
	maxChecks   = 1 << 17
)

// Config says for whom the state is kept and how it reaches the catalog.
type Config struct {
	Caller     op.Caller
	Datacenter string
	NodeName   string
	NodeID     string
	Address    string
	// TaggedAddresses and Meta of the node.
	TaggedAddresses map[string]string
	Meta            map[string]string
	// Dir keeps what was registered through the API; empty keeps nothing.
	Dir string
	// OutputMaxSize of checks in bytes; 0 is checks.DefaultOutput.
	OutputMaxSize int
	// UpdateInterval: changes of output alone are sent no more often; 0 sends
	// them at once.
	UpdateInterval time.Duration
	// SyncPeriod between full comparisons with the catalog; default 1 minute,
	// stretched in large datacenters.
	SyncPeriod time.Duration
	// RetryPeriod after a sync that failed; default 15 s.
	RetryPeriod time.Duration
	// Scripts from the API and from files may be run; see guard.
	ScriptsFromAPI, ScriptsFromFiles bool
	// ClusterSize is the number of LAN members; nil counts as 1.
	ClusterSize func() int
	// Coordinate of this node; nil sends none.
	Coordinate func() *coordinate.Coordinate
	// CoordinatePeriod at the shortest; default 15 s.
	CoordinatePeriod time.Duration

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// service is one registered service.
type service struct {
	def    config.ServiceDefinition
	file   bool // from a configuration file, not from the API
	record catalog.Service
	synced bool
}

// check is one registered check.
type check struct {
	def     config.CheckDefinition
	file    bool
	part    bool // defined with its service, not by itself
	record  catalog.Check
	synced  bool
	holdOff time.Time // an output-only change is not sent before

	stop func() // ends what runs it
	ttl  *checks.TTL
	bad  time.Time // critical since; zero if it is not
}

// State is the agent's own services and checks. It is safe for concurrent
// use.
type State struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	group   *lifecycle.Group
	runner  *checks.Runner
	wake    chan struct{} // capacity 1: something is to be sent
	full    chan struct{} // capacity 1: compare everything now

	mu       sync.Mutex
	services map[string]*service
	checks   map[string]*check
	gone     map[goneKey]bool // to be deleted from the catalog
	changed  chan struct{}    // closed and replaced when a check changes
	nodeSent bool
	running  bool
}

// goneKey names a service or check that was removed here.
type goneKey struct{ service, check string }

// New returns the state with what was kept from earlier. It runs no checks and
// sends nothing until Start.
func New(cfg Config) (*State, error) {
	for d, v := range map[*time.Duration]time.Duration{&cfg.SyncPeriod: time.Minute, &cfg.RetryPeriod: 15 * time.Second, &cfg.CoordinatePeriod: 15 * time.Second} {
		if *d == 0 {
			*d = v
		}
	}
	if cfg.OutputMaxSize == 0 {
		cfg.OutputMaxSize = checks.DefaultOutput
	}
	if cfg.ClusterSize == nil {
		cfg.ClusterSize = func() int { return 1 }
	}
	s := &State{cfg: cfg, log: cfg.Log.With("component", "local"), metrics: newMetrics(cfg.Registerer), group: lifecycle.New("local state"), runner: checks.NewRunner(),
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
		services: map[string]*service{}, checks: map[string]*check{}, gone: map[goneKey]bool{}, changed: make(chan struct{})}
	return s, s.restore()
}

// Start runs the checks and begins to bring the catalog in line.
func (s *State) Start() error {
	s.mu.Lock()
	s.running = true
	for _, c := range s.checks {
		s.run(c)
	}
	s.mu.Unlock()
	if err := s.group.Go("anti-entropy", s.syncLoop); err != nil {
		return err
	}
	if err := s.group.Go("reap critical services", s.reapLoop); err != nil {
		return err
	}
	if s.cfg.Coordinate == nil {
		return nil
	}
	return s.group.Go("coordinate", s.coordinateLoop)
}

// Stop ends all checks and sends nothing more.
func (s *State) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.running = false
	for _, c := range s.checks {
		c.halt()
	}
	s.mu.Unlock()
	return s.group.Stop(ctx)
}

// Services returns a copy of the services by ID.
func (s *State) Services() map[string]catalog.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]catalog.Service, len(s.services))
	for id, svc := range s.services {
		out[id] = svc.record
	}
	return out
}

// Checks returns a copy of the checks by ID.
func (s *State) Checks() map[string]catalog.Check {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]catalog.Check, len(s.checks))
	for id, c := range s.checks {
		out[id] = c.record
	}
	return out
}

// AddService registers a service with its checks, or changes it. Checks that
// it had and no longer defines go.
func (s *State) AddService(def config.ServiceDefinition) error { return s.addService(def, false) }

func (s *State) addService(def config.ServiceDefinition, file bool) error {
	record, err := serviceRecord(&def)
	if err != nil {
		return err
	}
	defs := serviceChecks(&def)
	for i := range defs {
		if err := s.guard(&defs[i], file); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.services[record.ID]
	if old == nil && len(s.services) >= maxServices {
		return fmt.Errorf("%w: this agent has %d services already, its limit", ErrInvalid, maxServices)
	}
	svc := &service{def: def, file: file, record: record}
	if old != nil {
		svc.synced = old.synced && old.record.Same(&record)
	}
	if !file {
		if err := s.keepService(svc); err != nil {
			return err
		}
	}
	s.services[record.ID] = svc
	delete(s.gone, goneKey{service: record.ID})
	keep := map[string]bool{}
	for _, d := range defs {
		keep[d.ID] = true
		if err := s.putCheck(d, file, true); err != nil {
			return err
		}
	}
	for id, c := range s.checks {
		if c.record.ServiceID == record.ID && !keep[id] && c.part {
			s.dropCheck(id, c)
		}
	}
	s.notify()
	return nil
}

// RemoveService deregisters a service with its checks.
func (s *State) RemoveService(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.services[id] == nil {
		return fmt.Errorf("%w %q", ErrUnknownService, id)
	}
	delete(s.services, id)
	s.gone[goneKey{service: id}] = true
	for cid, c := range s.checks {
		if c.record.ServiceID == id {
			s.dropCheck(cid, c)
			delete(s.gone, goneKey{service: id, check: cid}) // goes with its service
		}
	}
	s.notify()
	return s.forget(serviceFolder, id)
}

// AddCheck registers a check, or changes it; its last result stays.
func (s *State) AddCheck(def config.CheckDefinition) error { return s.addCheck(def, false) }

func (s *State) addCheck(def config.CheckDefinition, file bool) error {
	if def.ID == "" {
		def.ID = def.Name
	}
	if def.Name == "" {
		def.Name = def.ID
	}
	if def.ID == "" {
		return fmt.Errorf("%w: Missing check name", ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if def.ServiceID != "" && s.services[def.ServiceID] == nil {
		return fmt.Errorf("%w: ServiceID %q does not exist", ErrUnknownService, def.ServiceID)
	}
	if err := s.putCheck(def, file, false); err != nil {
		return err
	}
	s.notify()
	if file {
		return nil
	}
	return s.keepCheck(s.checks[def.ID])
}

// putCheck installs a check and runs it; s.mu is held. part says that it was
// defined with its service.
func (s *State) putCheck(def config.CheckDefinition, file, part bool) error {
	if err := s.guard(&def, file); err != nil {
		return err
	}
	if def.OutputMaxSize <= 0 || def.OutputMaxSize > s.cfg.OutputMaxSize {
		def.OutputMaxSize = s.cfg.OutputMaxSize
	}
	record, err := s.checkRecord(&def)
	if err != nil {
		return err
	}
	old := s.checks[def.ID]
	if old == nil && len(s.checks) >= maxChecks {
		return fmt.Errorf("%w: this agent has %d checks already, its limit", ErrInvalid, maxChecks)
	}
	c := &check{def: def, file: file, part: part, record: record, stop: func() {}}
	if old != nil {
		old.halt()
		if def.Status == "" {
			c.record.Status, c.record.Output, c.bad = old.record.Status, old.record.Output, old.bad
		}
		c.synced = old.synced && old.record.Same(&c.record)
	}
	s.checks[def.ID] = c
	delete(s.gone, goneKey{service: record.ServiceID, check: def.ID})
	if s.running {
		s.run(c)
	}
	return nil
}

// RemoveCheck deregisters a check.
func (s *State) RemoveCheck(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.checks[id]
	if c == nil {
		return fmt.Errorf("%w %q", ErrUnknownCheck, id)
	}
	s.dropCheck(id, c)
	s.notify()
	return nil
}

// dropCheck takes a check away; s.mu is held.
func (s *State) dropCheck(id string, c *check) {
	c.halt()
	delete(s.checks, id)
	s.gone[goneKey{service: c.record.ServiceID, check: id}] = true
	for _, folder := range []string{checkFolder, resultFolder} {
		if err := s.forget(folder, id); err != nil {
			s.log.Warn("forget a removed check", "check", id, "error", err)
		}
	}
}

// UpdateTTL takes the report of a TTL check.
func (s *State) UpdateTTL(id, status, output string) error {
	switch status {
	case checks.Passing, checks.Warning, checks.Critical:
	default:
		return fmt.Errorf("%w: Invalid check status %q: use passing, warning or critical", ErrInvalid, status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.checks[id]
	if c == nil {
		return fmt.Errorf("%w %q", ErrUnknownCheck, id)
	}
	if c.def.TTL <= 0 {
		return fmt.Errorf("CheckID %q: %w", id, ErrNotTTL)
	}
	if len(output) > c.def.OutputMaxSize {
		output = output[:c.def.OutputMaxSize]
	}
	if c.ttl != nil {
		c.ttl.Seen(output)
	}
	s.result(c, checks.Result{Status: status, Output: output})
	return s.keepResult(c)
}

// result notes the outcome of a check; s.mu is held.
func (s *State) result(c *check, r checks.Result) {
	switch {
	case r.Status != checks.Critical:
		c.bad = time.Time{}
	case c.bad.IsZero(): // also where it has never been anything else
		c.bad = time.Now()
	}
	switch {
	case c.record.Status != r.Status:
		c.synced, c.holdOff = false, time.Time{}
	case c.record.Output != r.Output:
		if s.cfg.UpdateInterval > 0 && c.synced {
			c.holdOff = time.Now().Add(s.cfg.UpdateInterval)
		}
		c.synced = false
	default:
		return
	}
	c.record.Status, c.record.Output = r.Status, r.Output
	s.notify()
	s.tellAliases()
}

// run starts what produces a check's results; s.mu is held.
func (s *State) run(c *check) {
	c.stop = func() {}
	report := func(r checks.Result) {
		s.mu.Lock()
		defer s.mu.Unlock()
		late := c.ttl != nil && time.Now().Before(c.ttl.Until()) // a report came while its expiry waited
		if s.checks[c.def.ID] == c && !late {
			s.result(c, r)
		}
	}
	switch {
	case isMaintenance(&c.def):
		return
	case c.def.TTL > 0:
		c.ttl = checks.NewTTL(c.def.TTL, report)
		s.resumeTTL(c)
		c.stop = c.ttl.Stop
		return
	case isAlias(&c.def):
		s.runAlias(c, report)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	err := s.group.Spawn("check", func(group context.Context) {
		defer context.AfterFunc(group, cancel)()
		if err := s.runner.Run(ctx, &c.def, report); err != nil {
			s.log.Error("run check", "check", c.def.ID, "error", err)
		}
	})
	if err != nil {
		cancel()
	}
}

// halt ends what produces the check's results.
func (c *check) halt() {
	if c.stop != nil {
		c.stop()
	}
}

// Define makes the services and checks from configuration files those given:
// new ones are registered, those that are no longer defined go.
func (s *State) Define(services []config.ServiceDefinition, defs []config.CheckDefinition) error {
	keepService, keepCheck := map[string]bool{}, map[string]bool{}
	var errs []error
	for _, d := range services {
		keepService[orElse(d.ID, d.Name)] = true
		errs = append(errs, s.addService(d, true))
	}
	for _, d := range defs {
		keepCheck[orElse(d.ID, d.Name)] = true
		errs = append(errs, s.addCheck(d, true))
	}
	s.mu.Lock()
	oldServices, oldChecks := maps.Clone(s.services), maps.Clone(s.checks)
	s.mu.Unlock()
	for id, svc := range oldServices {
		if svc.file && !keepService[id] {
			errs = append(errs, s.RemoveService(id))
		}
	}
	for id, c := range oldChecks {
		if c.file && !c.part && !keepCheck[id] {
			if err := s.RemoveCheck(id); !errors.Is(err, ErrUnknownCheck) { // gone with its service
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// notify wakes the sync loop; it never blocks.
func (s *State) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ServerAppeared asks for a full comparison soon: there is a server to send to
// again. It never blocks.
func (s *State) ServerAppeared() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

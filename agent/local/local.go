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
	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// Why a change of the agent's own services and checks is refused.
var (
	ErrUnknownService = errors.New("unknown service")
	ErrUnknownCheck   = errors.New("unknown check")
	ErrNotTTL         = errors.New("check does not have associated TTL")
	ErrInvalid        = errors.New("invalid definition")
)

// InvalidError is an ErrInvalid that says what is wrong, in the words that
// clients know.
type InvalidError struct{ Text string }

// Error implements error.
func (e *InvalidError) Error() string { return ErrInvalid.Error() + ": " + e.Text }

// Unwrap makes it an ErrInvalid.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// Bounds on what one agent may register.
const (
	maxServices = 1 << 16
	maxChecks   = 1 << 17
	// maxGone is how many deregistrations wait for the catalog by name. Above it
	// they are forgotten, and found again by comparing everything.
	maxGone = 1 << 14
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
	Locality        *mesh.Locality
	// SidecarPorts are the first and the last that sidecars get.
	SidecarPorts [2]int
	// Dir keeps what was registered through the API; empty keeps nothing.
	Dir string
	// OutputMaxSize of checks in bytes; 0 is checks.DefaultOutput.
	OutputMaxSize int
	// DiscardOutput of checks: only their states are kept and sent.
	DiscardOutput bool
	// UpdateInterval: changes of output alone are sent no more often; 0 sends
	// them at once.
	UpdateInterval time.Duration
	// SyncPeriod between full comparisons with the catalog; default 1 minute,
	// stretched in large datacenters.
	SyncPeriod time.Duration
	// RetryPeriod after a sync that failed; default 15 s.
	RetryPeriod time.Duration
	// HoldTimeout is how long AwaitSync waits for the catalog, and how long a call
	// of Caller waits for a leader; 0 does not wait.
	HoldTimeout time.Duration
	// Token returns the secret for what this agent itself asks for: its node, its
	// coordinate, comparing; nil uses none.
	Token func() string
	// RegistrationToken returns the secret for services and checks that name none,
	// defined by clients or, with file, by files; nil uses none.
	RegistrationToken func(file bool) string
	// Rights says what who shows a secret may do; nil lets everybody do everything.
	Rights func(ctx context.Context, secret string) (rules.Authorizer, error)
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
	def     config.ServiceDefinition
	file    bool // from a configuration file, not from the API
	record  catalog.Service
	synced  bool
	holdOff time.Time // it is not sent before
	settled uint64    // number of the last batch that was taken or refused
	asserts bool      // its tags go before the catalog's
	looked  bool      // the catalog's tags were looked at since it changed
	// changed is closed when the record becomes another or the service goes.
	changed chan struct{}
	checks  map[string]*check // of the service, by ID
	// asleep are checks that stay on disk and are not here: scripts are disabled.
	asleep []config.CheckDefinition
}

// check is one registered check.
type check struct {
	def     config.CheckDefinition
	file    bool
	part    bool // defined with its service, not by itself
	record  catalog.Check
	synced  bool
	holdOff time.Time // an output-only change is not sent before
	settled uint64    // number of the last batch that was taken or refused

	// sealed is set for an alias as long as its token may not read what it follows: nobody
	// else looks through it.
	sealed bool

	stop func() // ends what runs it
	ttl  *checks.TTL
	bad  time.Time // critical since; zero if it is not

	ranAt  time.Time   // of the last run; see results.go
	kept   *keptResult // on disk, nil for none
	keptAt time.Time
}

// State is the agent's own services and checks. It is safe for concurrent
// use.
type State struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	group   *lifecycle.Group
	sending *lifecycle.Group // what talks to the catalog
	disk    *disk.Disk
	runner  *checks.Runner
	wake    chan struct{} // capacity 1: something is to be sent
	full    chan struct{} // capacity 1: compare everything now
	urgent  chan struct{} // capacity 1: somebody waits for what is to be sent

	changing sync.Mutex // held while a change is carried out; before mu

	mu       sync.Mutex
	services map[string]*service
	checks   map[string]*check
	asleep   map[string]config.CheckDefinition // as those of services, but kept by themselves
	gone     map[goneKey]gone                  // to be deleted from the catalog
	changed  chan struct{}                     // closed and replaced when a check changes
	taken    map[string][]string               // tags that definitions had when the catalog took them; see tags.go
	unkept   map[string]bool                   // of taken, what is not on disk
	toKeep   map[string]bool                   // checks with results to be kept
	fresh    map[string]struct{}               // services with something to send since the last look
	number   uint64                            // of batches
	waiters  map[string]*waiters               // those who wait for something of a service, by service
	awaiting int                               // how many wait
	nodeSent bool
	running  bool
	unsure   bool                     // gone does not hold all that is gone: only a comparison tells
	lossy    bool                     // the last report of a TTL check could not be kept
	waiting  []config.CheckDefinition // kept ones of services that are not defined yet
}

// goneKey names a service or check that was removed here.
type goneKey struct{ service, check string }

// gone says how something is deleted.
type gone struct {
	token   string
	holdOff time.Time // not before
}

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
	s := &State{cfg: cfg, log: cfg.Log.With("component", "local"), metrics: newMetrics(cfg.Registerer), group: lifecycle.New("local state"), sending: lifecycle.New("local state"), runner: checks.NewRunner(),
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), urgent: make(chan struct{}, 1), waiters: map[string]*waiters{}, fresh: map[string]struct{}{}, taken: map[string][]string{}, unkept: map[string]bool{}, toKeep: map[string]bool{},
		services: map[string]*service{}, checks: map[string]*check{}, asleep: map[string]config.CheckDefinition{}, gone: map[goneKey]gone{}, changed: make(chan struct{}), disk: disk.New(cfg.Dir, serviceFolder, checkFolder)}
	return s, s.restore()
}

// Start runs the checks and begins to bring the catalog in line.
func (s *State) Start() error {
	if err := errors.Join(s.sweepTags(), s.sweepResults()); err != nil {
		return err
	}
	s.mu.Lock()
	for _, c := range s.checks {
		s.run(c)
	}
	s.running = true
	s.mu.Unlock()
	if err := s.sending.Go("anti-entropy", s.syncLoop); err != nil {
		return err
	}
	if err := s.group.Go("reap critical services", s.reapLoop); err != nil {
		return err
	}
	if s.cfg.Dir != "" {
		if err := s.group.Go("keep states of checks", s.keepLoop); err != nil {
			return err
		}
	}
	if s.cfg.Coordinate == nil {
		return nil
	}
	return s.sending.Go("coordinate", s.coordinateLoop)
}

// Leave sends nothing more to the catalog: what it has of this node may be
// removed for good. Checks still run.
func (s *State) Leave(ctx context.Context) error { return s.sending.Stop(ctx) }

// Stop ends all checks and sends nothing more.
func (s *State) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.running = false
	for _, c := range s.checks {
		c.halt()
	}
	s.mu.Unlock()
	return errors.Join(s.sending.Stop(ctx), s.group.Stop(ctx), s.keepResults(true))
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

// Service returns one service and a channel that is closed when it becomes
// another or goes; what happens to other services does not close it.
func (s *State) Service(id string) (record catalog.Service, changed <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc := s.services[id]
	if svc == nil {
		return catalog.Service{}, nil, false
	}
	return svc.record, svc.changed, true
}

// Counts returns how many checks are run here and how many are reported.
func (s *State) Counts() (run, reported int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.checks {
		switch {
		case c.ttl != nil:
			reported++
		case !isAlias(&c.def) && !isMaintenance(&c.def):
			run++
		}
	}
	return run, reported
}

// SetNodeMeta replaces the metadata of the node and sends it.
func (s *State) SetNodeMeta(meta map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !maps.Equal(s.cfg.Meta, meta) {
		s.cfg.Meta, s.nodeSent = meta, false
		s.notify()
	}
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

// Check returns the check with the ID, also one that is kept while scripts are disabled.
func (s *State) Check(id string) (catalog.Check, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.checks[id]; ok {
		return c.record, true
	}
	if d, ok := s.asleep[id]; ok {
		return s.checkRecord(&d), true
	}
	return catalog.Check{}, false
}

// notify wakes the sync loop; it never blocks.
func (s *State) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// changedOf wakes the sync loop for something of a service or, without an ID,
// of the node's own checks. s.mu is held.
func (s *State) changedOf(service string) {
	s.fresh[service] = struct{}{}
	s.notify()
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

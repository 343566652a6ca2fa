package removal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/federation"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/wan"
)

// Protocol is the ALPN of exchanges of records.
const Protocol = version.Removal

// Bounds of exchanges.
const (
	exchangeTimeout = 2 * time.Second
	exchangesAtOnce = 16
	maxMessage      = 1 << 20 // bytes of a request or an answer
	// retryEvery is how often those are asked again of which the digest differs.
	retryEvery = 2 * time.Second
)

// Transport reaches the servers of all datacenters.
type Transport interface {
	RoundTrip(ctx context.Context, to transport.Target, protocol string, head, body []byte) ([]byte, error)
}

// Config makes a Spreader. Servers and Changed are called from Start on.
type Config struct {
	Datacenter string // of this server
	Name       string // of this server, node.datacenter
	Records    *Records
	Transport  Transport
	// Servers returns the members of the WAN pool, those of removed datacenters
	// included.
	Servers func() []wan.Server
	// Changed is told of what changed, one call at a time, after it holds.
	Changed    func([]Record)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Spreader keeps the records of the servers the same.
type Spreader struct {
	cfg     Config
	log     *slog.Logger
	group   *lifecycle.Group
	kick    chan struct{}
	metrics *metrics

	mu      sync.Mutex
	changed []Record // not told yet; one a datacenter
}

// New returns a Spreader that compares nothing before Start.
func New(cfg Config) *Spreader {
	return &Spreader{cfg: cfg, log: cfg.Log.With("component", "federation"), group: lifecycle.New("removals"), kick: make(chan struct{}, 1),
		metrics: newMetrics(cfg.Registerer, cfg.Records)}
}

// Start begins to compare records with the other servers.
func (s *Spreader) Start() error { return s.group.Go("spread", s.spread) }

// Stop ends exchanges.
func (s *Spreader) Stop(ctx context.Context) error { return s.group.Stop(ctx) }

// MembersChanged has the members looked at again. It never blocks.
func (s *Spreader) MembersChanged() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Handler answers exchanges. Every server is admitted, also of a datacenter that
// is removed: it learns here that it is.
func (s *Spreader) Handler() transport.Protocol {
	return transport.Protocol{PoolSize: 1, Answer: s.answer, Admit: func(p identity.Peer) error {
		if !p.Server {
			return errors.New("only servers exchange which datacenters are removed")
		}
		return nil
	}}
}

// Set removes a datacenter or allows it again and tells every server. It returns
// how many know of it and which do not.
func (s *Spreader) Set(ctx context.Context, datacenter string, removed bool) (told int, missed []string, err error) {
	changed, err := s.cfg.Records.Set(datacenter, removed, s.cfg.Name, time.Now())
	s.note(changed)
	if err != nil {
		return 0, nil, err
	}
	told, missed = s.tellAll(ctx, datacenter)
	return told, missed, nil
}

// SetHome takes over who is home and tells every server. It returns how many know of it
// and which do not.
func (s *Spreader) SetHome(ctx context.Context, rec Record) (told int, missed []string, err error) {
	rec.Home, rec.Removed, rec.By, rec.At = true, false, cmp.Or(rec.By, s.cfg.Name), time.Now()
	changed, err := s.cfg.Records.Merge([]Record{rec}, rec.At)
	s.note(changed)
	if err != nil {
		return 0, nil, err
	}
	if now, _ := s.cfg.Records.Home(); now.Version != rec.Version {
		return 0, nil, fmt.Errorf("note that datacenter %.64q is the home: a newer move was made, it was removed from the federation when it became that, or this clock is more than a day behind another's", rec.Datacenter)
	}
	told, missed = s.tellAll(ctx, "")
	return told, missed, nil
}

// tellAll exchanges records with every server. Those of one datacenter are not missed.
func (s *Spreader) tellAll(ctx context.Context, datacenter string) (told int, missed []string) {
	targets := s.others(func(wan.Server) bool { return true })
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(exchangesAtOnce)
	told = 1
	for _, srv := range targets {
		g.Go(func() error {
			err := s.exchange(ctx, srv)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				told++
			case srv.Datacenter != datacenter:
				missed = append(missed, wan.FullName(srv.Name, srv.Datacenter))
			}
			return nil
		})
	}
	_ = g.Wait() // who did not answer is in missed
	slices.Sort(missed)
	return told, missed
}

// others lists the other servers that are alive, or failed: they may be gone only
// for gossip.
func (s *Spreader) others(want func(wan.Server) bool) []wan.Server {
	return slices.DeleteFunc(s.cfg.Servers(), func(srv wan.Server) bool {
		return wan.FullName(srv.Name, srv.Datacenter) == s.cfg.Name || srv.Status != gossip.Alive && srv.Status != gossip.Failed || !want(srv)
	})
}

// exchange tells a server all records and takes over what it knows better.
func (s *Spreader) exchange(ctx context.Context, to wan.Server) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	body, err := json.Marshal(s.cfg.Records.List())
	if err != nil {
		return err
	}
	answer, err := s.cfg.Transport.RoundTrip(ctx, federation.TargetOf(to), Protocol, nil, body)
	s.metrics.exchanged(err)
	if err != nil {
		return err
	}
	return s.merge(to.Datacenter, answer)
}

// answer takes over what the other knows better and returns all records.
func (s *Spreader) answer(_ context.Context, from transport.Remote, request []byte) []byte {
	if err := s.merge(from.Peer.Datacenter, request); err != nil {
		s.log.Warn("records of removed datacenters were not taken over", "server", from.Peer.FullName(), "error", err)
	}
	b, err := json.Marshal(s.cfg.Records.List())
	if err != nil { // cannot be: records have no values without a form
		return nil
	}
	return b
}

// merge takes over what a server of a datacenter says. That of a removed one does not
// count: it would take itself back. Among its own servers it does, and they need it.
func (s *Spreader) merge(from string, b []byte) error {
	if from != s.cfg.Datacenter && s.cfg.Records.Removed(from) {
		return nil
	}
	if len(b) > maxMessage {
		return fmt.Errorf("%d bytes of records are more than the %d allowed", len(b), maxMessage)
	}
	var list []Record
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	changed, err := s.cfg.Records.Merge(list, time.Now())
	s.note(changed)
	return err
}

// note has Changed called soon.
func (s *Spreader) note(changed []Record) {
	if len(changed) == 0 {
		return
	}
	s.mu.Lock()
	for _, rec := range changed {
		s.changed = append(slices.DeleteFunc(s.changed, func(r Record) bool { return r.key() == rec.key() }), rec)
	}
	s.mu.Unlock()
	s.MembersChanged()
}

func (s *Spreader) spread(ctx context.Context) {
	t := time.NewTicker(retryEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-t.C:
		}
		s.tell()
		own := s.cfg.Records.Digest()
		var g errgroup.Group
		g.SetLimit(exchangesAtOnce)
		for _, srv := range s.others(func(srv wan.Server) bool { return srv.Status == gossip.Alive && srv.Removals != own }) {
			g.Go(func() error {
				if err := s.exchange(ctx, srv); err != nil {
					s.log.Debug("compare which datacenters are removed", "server", wan.FullName(srv.Name, srv.Datacenter), "error", err)
				}
				return nil
			})
		}
		_ = g.Wait() // they are tried again
		s.tell()
	}
}

// tell writes one line for each change and hands them on.
func (s *Spreader) tell() {
	s.mu.Lock()
	changed := s.changed
	s.changed = nil
	s.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	slices.SortFunc(changed, func(a, b Record) int { return cmp.Compare(a.key(), b.key()) })
	for _, rec := range changed {
		log := s.log.With("peer_datacenter", rec.Datacenter, "by", rec.By)
		switch {
		case rec.Home && rec.Datacenter == "":
			s.log.Warn("the datacenter that was said to be the home became that while it was removed from the federation, which does not count: the home is the one that the others know, or that is configured (primary_datacenter)")
		case rec.Home && rec.Datacenter == s.cfg.Datacenter:
			log.Info("this datacenter is the home now: policies, roles, auth methods, binding rules and global tokens are written here")
		case rec.Home:
			log.Info("another datacenter is the home now: policies, roles, auth methods, binding rules and global tokens are written there")
		case rec.Removed && rec.Datacenter == s.cfg.Datacenter:
			log.Warn("this datacenter was removed from the federation: the others refuse its servers until legate federation allow is run in one of them")
		case rec.Removed:
			log.Warn("datacenter was removed from the federation: its servers are refused until legate federation allow")
		default:
			log.Info("datacenter is allowed in the federation again")
		}
	}
	s.cfg.Changed(changed)
}

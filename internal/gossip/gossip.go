// Package gossip is one Serf pool: who is a member, who has failed, network
// coordinates and small broadcasts. The pools inside a datacenter and between
// datacenters are made of it.
//
// It promises that events are taken from Serf at once, however slow their
// reader is: the reader is then told to look at the members again. It does not
// know what the tags mean and does not deliver user events for certain.
package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-metrics"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/coordinate"
	"github.com/hashicorp/serf/serf"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
)

// ErrIllegible is why a member is refused whose name or tags are not text.
var ErrIllegible = errors.New("what a member says of itself is no text that can be shown")

const (
	// serfEvents is how many events Serf may be ahead of the pump.
	serfEvents = 2048
	// waitingEvents is how many events the reader may be behind; above it
	// they are dropped and the reader gets a Resync.
	waitingEvents = 4096
	// checksum is what memberlist puts before a packet that it has filled up to its
	// size already: a type and a CRC-32.
	checksum = 5
	// MaxUserEvent bounds name and payload of a user event, in bytes.
	MaxUserEvent = 512
)

// ErrUnknownMember is returned by ForceLeave.
var ErrUnknownMember = errors.New("no such member")

// Config makes a Pool.
type Config struct {
	// Pool is "lan" or "wan": a label of metrics.
	Pool string
	// NodeName is unique in the pool.
	NodeName string
	// Tags travel with the member: at most 512 bytes encoded.
	Tags map[string]string
	// Profile and Timing set the pace.
	Profile Profile
	Timing  Timing
	// Transport carries the packets; nil for UDP and TCP on BindAddr and
	// BindPort. The pool shuts it down.
	Transport memberlist.Transport
	// BindAddr is an IP address, BindPort a port, 0 for any.
	BindAddr string
	BindPort int
	// AdvertiseAddr and AdvertisePort are what members reach this one at;
	// empty for the bound ones.
	AdvertiseAddr string
	AdvertisePort int
	// PacketSize is the largest packet, in bytes; 0 for the usual 1400.
	PacketSize int
	// NoCompression leaves messages uncompressed.
	NoCompression bool
	// Label keeps pools apart: packets with another one are dropped.
	Label string
	// Keyring encrypts the packets: the first key is used, all are accepted. Nil:
	// no encryption. Members change it together, see AskKeys.
	Keyring *Keyring
	// Encrypted says that Transport encrypts by itself, with what follows Keyring.
	Encrypted bool
	// SnapshotPath is a file with the members last seen alive, to rejoin
	// after a restart; "" for none.
	SnapshotPath string
	// RejoinAfterLeave rejoins even if this node left on purpose.
	RejoinAfterLeave bool
	// DatacenterOf tells a member's datacenter from its name, for metrics; nil if
	// all are of one.
	DatacenterOf func(member string) string
	// Waited is how long the last packet to a member waited for its way, which is no part of
	// the round trip; nil if none waits.
	Waited func(member string) time.Duration
	// Allowed are the networks whose members may join; none means all. The own
	// address must be in one of them.
	Allowed []netip.Prefix
	// Gate bounds the streams that others open; nil for no bounds, where Transport has
	// its own.
	Gate *admission.Gate
	// Accept refuses members, with the reason; nil accepts all that can be named
	// (see ErrIllegible). It must be quick and must not call the pool.
	Accept func(Member) error
	// OnChange gets the events, one at a time, in order; nil for none.
	OnChange func(Event)

	Log        *slog.Logger
	Registerer prometheus.Registerer // nil for none
}

// Pool is this node's membership in one pool. Its methods are safe for
// concurrent use.
type Pool struct {
	cfg     Config
	log     *slog.Logger
	group   *lifecycle.Group
	metrics *poolMetrics
	pinger  *pinger
	serf    *serf.Serf
	reasons reasons
	tags    sync.Mutex // SetTags one at a time

	events  chan serf.Event
	waiting chan Event
	queries chan *serf.Query
	missed  chan struct{} // capacity 1: an event was dropped
}

// Start joins nobody yet; Join does, or the snapshot.
func Start(cfg Config) (*Pool, error) {
	if cfg.Log == nil {
		cfg.Log = logging.Discard()
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	p := &Pool{
		cfg:     cfg,
		log:     cfg.Log,
		group:   lifecycle.New("gossip " + cfg.Pool),
		events:  make(chan serf.Event, serfEvents),
		waiting: make(chan Event, waitingEvents),
		queries: make(chan *serf.Query, keysWaiting),
		missed:  make(chan struct{}, 1),
	}
	if err := p.start(); err != nil {
		// Nothing has been promised yet: the first error counts.
		_ = p.group.Stop(context.Background())
		return nil, fmt.Errorf("start %s gossip as %s: %w", cfg.Pool, cfg.NodeName, err)
	}
	return p, nil
}

func (p *Pool) start() error {
	var err error
	if p.metrics, err = newMetrics(p.cfg.Registerer, p); err != nil {
		return err
	}
	stopMetrics := func(context.Context) error { p.metrics.unregister(); return nil }
	if err := p.group.OnStop("metrics", stopMetrics); err != nil {
		return err
	}
	if p.pinger, err = newPinger(&p.cfg, p.metrics); err != nil {
		return err
	}
	conf, err := p.serfConfig()
	if err != nil {
		return err
	}
	traffic := newCounted(conf.MemberlistConfig.Transport, p.metrics, p.cfg.Gate)
	conf.MemberlistConfig.Transport = traffic
	if err := errors.Join(p.group.Go("deliver", p.deliver), p.group.Go("events", p.pump), p.group.Go("traffic", traffic.relay)); err != nil {
		return errors.Join(err, traffic.Shutdown())
	}
	if p.serf, err = serf.Create(conf); err != nil {
		return errors.Join(err, traffic.Shutdown())
	}
	p.metrics.ready.Store(true)
	err = p.group.OnStop("serf", func(context.Context) error {
		p.metrics.ready.Store(false)
		return p.serf.Shutdown()
	})
	return errors.Join(err, p.group.Go("leaving members", p.askLeaving), p.group.Go("keys", p.answerKeys), p.group.Go("look at keys", p.lookAtKeys))
}

func (p *Pool) serfConfig() (*serf.Config, error) {
	cfg := &p.cfg
	conf := serf.DefaultConfig()
	ml, err := cfg.Profile.apply(conf)
	if err != nil {
		return nil, err
	}
	cfg.Timing.apply(conf, ml)
	conf.NodeName = cfg.NodeName
	conf.Tags = maps.Clone(cfg.Tags)
	conf.EventCh = p.events
	conf.MemberlistConfig = ml
	conf.Logger = doubts{logging.Std(cfg.Log), p.metrics, &p.reasons}.logger()
	conf.SnapshotPath = cfg.SnapshotPath
	conf.RejoinAfterLeave = cfg.RejoinAfterLeave
	conf.UserEventSizeLimit = MaxUserEvent
	conf.MetricLabels = []metrics.Label{{Name: "pool", Value: cfg.Pool}, {Name: "node", Value: cfg.NodeName}}
	// The vote makes the loser leave: a second node of the same name could
	// evict the first.
	conf.EnableNameConflictResolution = false
	// The pool has its own ping delegate, which measures and keeps
	// coordinates; Serf's cannot be wrapped.
	conf.DisableCoordinates = true
	ml.Ping = p.pinger
	conf.Merge = accept{cfg.Accept}

	conf.ReconnectTimeoutOverride = ownTimeout{}
	for _, p := range cfg.Allowed {
		ml.CIDRsAllowed = append(ml.CIDRsAllowed, net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	ml.Logger = conf.Logger
	ml.Transport = cfg.Transport
	ml.Label = cfg.Label
	ml.EnableCompression = !cfg.NoCompression
	ml.BindAddr, ml.BindPort = cfg.BindAddr, cfg.BindPort
	ml.AdvertiseAddr, ml.AdvertisePort = cfg.AdvertiseAddr, cfg.AdvertisePort
	if ml.AdvertisePort == 0 {
		ml.AdvertisePort = cfg.BindPort
	}
	if cfg.PacketSize > 0 {
		ml.UDPBufferSize = cfg.PacketSize - checksum
		// What is answered to a query travels in one packet, with headers,
		// label and encryption around it.
		limit := cfg.PacketSize - 250
		conf.QuerySizeLimit, conf.QueryResponseSizeLimit = limit, limit
	}
	if cfg.Keyring != nil && !cfg.Encrypted {
		ml.Keyring = cfg.Keyring.ring
	}
	if ml.Transport == nil {
		ml.Transport, err = sockets(ml, conf.MetricLabels)
	}
	return conf, err
}

// ownTimeout lets clients say when they are to be forgotten.
type ownTimeout struct{}

var _ serf.ReconnectTimeoutOverrider = ownTimeout{}

// ReconnectTimeout implements serf.ReconnectTimeoutOverrider.
func (ownTimeout) ReconnectTimeout(m *serf.Member, usual time.Duration) time.Duration {
	if m.Tags[tagRole] != RoleClient {
		return usual
	}
	if d, err := time.ParseDuration(m.Tags[tagReconnect]); err == nil && d > 0 {
		return d
	}
	return usual
}

// accept adapts Config.Accept to Serf.
type accept struct{ judge func(Member) error }

var _ serf.MergeDelegate = accept{}

// refusedNamed is how many of those that are refused an error names.
const refusedNamed = 8

// judgeNames is for all pools: what a member says of itself becomes labels of metrics,
// attributes of logs and spans, and names in answers.
func judgeNames(m Member) error {
	if !utf8.ValidString(m.Name) || strings.ContainsFunc(m.Name, unicode.IsControl) {
		return fmt.Errorf("%w: its name", ErrIllegible)
	}
	for key, value := range m.Tags {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return fmt.Errorf("%w: its tag %q", ErrIllegible, key)
		}
	}
	return nil
}

// NotifyMerge implements serf.MergeDelegate. With the stranger who joins comes
// all of its pool: the error names them, with the reason for the first.
func (a accept) NotifyMerge(members []*serf.Member) error {
	var names []string
	var reason error
	for _, m := range members {
		err := judgeNames(memberOf(*m))
		if err == nil && a.judge != nil {
			err = a.judge(memberOf(*m))
		}
		if err != nil {
			names = append(names, strconv.Quote(m.Name))
			reason = cmp.Or(reason, err)
		}
	}
	switch n := len(names); {
	case n == 0:
		return nil
	case n == 1:
		return fmt.Errorf("refuse member %s: %w", names[0], reason)
	default:
		slices.Sort(names)
		more := ""
		if n > refusedNamed {
			names, more = names[:refusedNamed], fmt.Sprintf(" and %d more", n-refusedNamed)
		}
		return fmt.Errorf("refuse members %s%s: %w", strings.Join(names, ", "), more, reason)
	}
}

// Stop ends the pool without a word to the others: they will see a failure.
// Call Leave before to leave.
func (p *Pool) Stop(ctx context.Context) error { return p.group.Stop(ctx) }

// Join exchanges state with each address, host:port or name/host:port, and
// returns with how many that worked. The error tells why others did not; it
// is nil if one did.
func (p *Pool) Join(addrs []string) (int, error) {
	// Events from before a node became a member are of no interest to it. To a
	// member they are: Serf would also drop those that are on their way.
	n, err := p.serf.Join(addrs, p.onlyMember())
	if err != nil {
		return n, fmt.Errorf("join %s pool: %w", p.cfg.Pool, err)
	}
	return n, nil
}

// onlyMember reports whether no other member is known to be alive.
func (p *Pool) onlyMember() bool {
	return !slices.ContainsFunc(p.serf.Members(), func(m serf.Member) bool {
		return m.Status == serf.StatusAlive && m.Name != p.cfg.NodeName
	})
}

// Leave tells the others that this node leaves on purpose and stays a while,
// so that the word spreads. Call Stop afterwards.
func (p *Pool) Leave() error {
	if err := p.serf.Leave(); err != nil {
		return fmt.Errorf("leave %s pool: %w", p.cfg.Pool, err)
	}
	return nil
}

// ForceLeave turns a failed member into one that left; with prune it is
// forgotten at once. It returns ErrUnknownMember if there is none.
func (p *Pool) ForceLeave(name string, prune bool) error {
	if !slices.ContainsFunc(p.serf.Members(), func(m serf.Member) bool { return m.Name == name }) {
		return fmt.Errorf("remove %q from %s pool: %w", name, p.cfg.Pool, ErrUnknownMember)
	}
	remove := p.serf.RemoveFailedNode
	if prune {
		remove = p.serf.RemoveFailedNodePrune
	}
	if err := remove(name); err != nil {
		return fmt.Errorf("remove %q from %s pool: %w", name, p.cfg.Pool, err)
	}
	return nil
}

// SetTags replaces this node's tags and tells the others.
func (p *Pool) SetTags(tags map[string]string) error {
	p.tags.Lock()
	defer p.tags.Unlock()
	if err := p.serf.SetTags(maps.Clone(tags)); err != nil {
		return fmt.Errorf("set tags in %s pool: %w", p.cfg.Pool, err)
	}
	return nil
}

// UserEvent broadcasts a small message, delivered at most once and perhaps
// not at all. Coalesced ones of the same name may replace each other.
func (p *Pool) UserEvent(name string, payload []byte, coalesce bool) error {
	if err := p.serf.UserEvent(name, payload, coalesce); err != nil {
		return fmt.Errorf("fire event %q in %s pool: %w", name, p.cfg.Pool, err)
	}
	return nil
}

// Members returns all known members in order of their names, this node and
// those that failed or left included. Their tags must not be changed.
func (p *Pool) Members() []Member {
	members := p.serf.Members()
	out := make([]Member, 0, len(members))
	for _, m := range members {
		out = append(out, memberOf(m))
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// NumMembers is how many members Members would return.
func (p *Pool) NumMembers() int { return p.serf.NumNodes() }

// LocalMember is this node as the others see it.
func (p *Pool) LocalMember() Member { return memberOf(p.serf.LocalMember()) }

// Coordinate is this node's network coordinate.
func (p *Pool) Coordinate() *coordinate.Coordinate { return p.pinger.client.GetCoordinate() }

// CoordinateOf is the last known coordinate of a member; false if it was
// never probed.
func (p *Pool) CoordinateOf(name string) (*coordinate.Coordinate, bool) {
	return p.pinger.coordinateOf(name)
}

// RoundTrip is the median of the last probes of a member that it answered; false
// if there was none. It is exact where the distance of coordinates is an
// estimate: prefer it for what concerns this node itself.
func (p *Pool) RoundTrip(name string) (time.Duration, bool) { return p.pinger.roundTripTo(name) }

// Stats are figures for operators: members, failed, left, queues, clocks.
func (p *Pool) Stats() map[string]string {
	s := p.serf.Stats()
	s["coordinate_resets"] = strconv.Itoa(p.pinger.client.Stats().Resets)
	return s
}

// pump takes events from Serf at once.
func (p *Pool) pump(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-p.events:
			event, ok := eventOf(e)
			if q, is := e.(*serf.Query); is {
				p.query(q)
			}
			if !ok {
				continue
			}
			p.metrics.event(event.Kind)
			if event.Kind == Fail {
				event.Reasons = p.reasons.take(event.Members)
			}
			if event.Kind == Join {
				p.pinger.expect(event.Members)
			}
			if event.Kind == Reap {
				p.pinger.forget(event.Members)
			}
			p.hand(event)
		}
	}
}

func (p *Pool) hand(e Event) {
	if p.cfg.OnChange == nil {
		return
	}
	select {
	case p.waiting <- e:
	default:
		p.metrics.dropped.Inc()
		select {
		case p.missed <- struct{}{}:
		default:
		}
	}
}

// deliver hands the events on; what was dropped becomes one Resync.
func (p *Pool) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-p.waiting:
			p.cfg.OnChange(e)
		case <-p.missed:
			p.cfg.OnChange(Event{Kind: Resync, At: time.Now()})
		}
	}
}

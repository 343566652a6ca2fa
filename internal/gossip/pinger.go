package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// coordinateForm is the first byte of what a probed member answers.
	coordinateForm = 1
	// maxDimensions bounds what a peer's coordinate may have.
	maxDimensions = 16
)

var errCoordinate = errors.New("malformed coordinate")

// pinger is told of each successful probe: it measures the round trip and
// feeds it to the Vivaldi client.
type pinger struct {
	self    string
	dcOf    func(member string) string
	client  *coordinate.Client
	metrics *poolMetrics
	waited  func(member string) time.Duration

	mu    sync.Mutex
	peers map[string]*probed
}

// probed is what the probes of a member have shown.
type probed struct {
	coordinate *coordinate.Coordinate // nil: none that made sense
	trips      []time.Duration        // the newest, at most tripsKept
	seconds    prometheus.Observer    // of the member's datacenter
}

// tripsKept is how many round trips of a member are kept: their median rides
// out two that jitter or loss spoiled.
const tripsKept = 5

// adjustmentWindow is over how many probes a coordinate learns by how much its
// distances are wrong on the whole. The usual 20 follow the last few neighbours
// around: with 100 the order of 150 hosts of PlanetLab is right for more pairs
// and the median error is a seventh less.
const adjustmentWindow = 100

var _ memberlist.PingDelegate = (*pinger)(nil)

func newPinger(cfg *Config, m *poolMetrics) (*pinger, error) {
	conf := coordinate.DefaultConfig()
	conf.AdjustmentWindowSize = adjustmentWindow
	client, err := coordinate.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("make network coordinate: %w", err)
	}
	of := cfg.DatacenterOf
	if of == nil {
		of = func(string) string { return cfg.Tags[tagDatacenter] }
	}
	m.probesOf(of(cfg.NodeName))
	waited := cfg.Waited
	if waited == nil {
		waited = func(string) time.Duration { return 0 }
	}
	return &pinger{self: cfg.NodeName, dcOf: of, client: client, metrics: m, waited: waited, peers: map[string]*probed{}}, nil
}

// AckPayload implements memberlist.PingDelegate.
func (p *pinger) AckPayload() []byte { return encodeCoordinate(p.client.GetCoordinate()) }

// NotifyPingComplete implements memberlist.PingDelegate.
func (p *pinger) NotifyPingComplete(other *memberlist.Node, rtt time.Duration, payload []byte) {
	rtt -= p.waited(other.Name)
	c, err := decodeCoordinate(payload)
	if err == nil {
		_, err = p.client.Update(other.Name, c, rtt)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.peers[other.Name]
	if peer == nil {
		peer = &probed{seconds: p.metrics.probesOf(p.dcOf(other.Name))}
		p.peers[other.Name] = peer
	}
	peer.seconds.Observe(rtt.Seconds())
	if rtt > 0 {
		peer.trips = append(peer.trips[max(0, len(peer.trips)-tripsKept+1):], rtt)
	}
	if err != nil {
		p.metrics.rejected.Inc()
		return
	}
	peer.coordinate = c
}

// roundTripTo is the median of the newest round trips.
func (p *pinger) roundTripTo(name string) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.peers[name]
	if peer == nil || len(peer.trips) == 0 {
		return 0, false
	}
	trips := slices.Sorted(slices.Values(peer.trips))
	return trips[len(trips)/2], true
}

func (p *pinger) coordinateOf(name string) (*coordinate.Coordinate, bool) {
	if name == p.self {
		return p.client.GetCoordinate(), true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.peers[name]
	if peer == nil || peer.coordinate == nil {
		return nil, false
	}
	return peer.coordinate.Clone(), true
}

// expect has the series of the members' datacenters exist before the first probe.
func (p *pinger) expect(members []Member) {
	for _, m := range members {
		p.metrics.probesOf(p.dcOf(m.Name))
	}
}

// forget drops what is kept about members that are gone.
func (p *pinger) forget(members []Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range members {
		delete(p.peers, m.Name)
		p.client.ForgetNode(m.Name)
	}
}

// encodeCoordinate: form, dimensions, then the vector, error, adjustment and
// height, each an IEEE 754 double, big endian.
func encodeCoordinate(c *coordinate.Coordinate) []byte {
	b := make([]byte, 0, 2+8*(len(c.Vec)+3))
	b = append(b, coordinateForm, byte(len(c.Vec)))
	for _, f := range append(append([]float64(nil), c.Vec...), c.Error, c.Adjustment, c.Height) {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	}
	return b
}

func decodeCoordinate(b []byte) (*coordinate.Coordinate, error) {
	if len(b) < 2 || b[0] != coordinateForm || b[1] > maxDimensions || len(b) != 2+8*(int(b[1])+3) {
		return nil, errCoordinate
	}
	floats := make([]float64, int(b[1])+3)
	for i := range floats {
		floats[i] = math.Float64frombits(binary.BigEndian.Uint64(b[2+8*i:]))
	}
	n := int(b[1])
	c := &coordinate.Coordinate{Vec: floats[:n:n], Error: floats[n], Adjustment: floats[n+1], Height: floats[n+2]}
	if !c.IsValid() {
		return nil, errCoordinate
	}
	return c, nil
}

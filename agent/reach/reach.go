// Package reach knows how this server reaches those of other datacenters and is reached by
// them: directly, or through gateways (package gateway).
package reach

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/reach/links"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
	"github.com/legate-project/legate/transport/relay"
	"github.com/legate-project/legate/transport/tunnel"
	"github.com/legate-project/legate/wan"
)

const (
	// maxVia bounds the gateways that a server shows in its tags, maxViaBytes their text:
	// all tags of a member have 512 bytes.
	maxVia      = 3
	maxViaBytes = 150
)

// Config makes Ways.
type Config struct {
	Agent *config.Config
	// Gateways are those of the own datacenter.
	Gateways func() []gossip.Member
	// Refuse returns why servers of a datacenter are refused, nil if they are not.
	Refuse func(datacenter string) error
	// Identity is that of the endpoint.
	Identity transport.Identity

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Ways are how this server reaches those of other datacenters.
type Ways struct {
	cfg   Config
	board *relay.Board
	relay *gateway.Relay // nil before Open
	// tunnels lead to gateways where UDP does not; nil if there are to be none.
	tunnels *tunnel.Keeper

	endpoint *transport.Endpoint // that the flows are under

	known   atomic.Pointer[known]
	kept    atomic.Pointer[[]gateway.Registered]
	reached chan struct{} // a gateway carries for this server now
	behind  sync.Map      // addresses where who joined found a gateway

	table  *links.Table
	paths  *paths
	group  *lifecycle.Group
	kick   chan struct{} // direct links are to be looked at now
	tries  atomic.Uint64
	trials chan struct{} // links that are tried because others ask
}

// known is what servers of other datacenters show of themselves: node.datacenter by node
// ID, and the gateways of each that has some.
type known struct {
	names map[string]string
	via   map[string][]string

	peers     []peer // of other datacenters, alive, the nearest first
	byName    map[string]peer
	carriedTo map[string]bool // datacenters that some other one may carry to
}

// New returns ways that are direct until Learn says otherwise.
func New(cfg Config) *Ways {
	w := &Ways{cfg: cfg, board: relay.NewBoard(), table: links.NewTable(cfg.Agent.Datacenter), group: lifecycle.New("ways"),
		kick: make(chan struct{}, 1), reached: make(chan struct{}, 1), trials: make(chan struct{}, maxTries)}
	w.known.Store(&known{})
	return w
}

// Under puts flows under an endpoint.
func (w *Ways) Under(c *transport.Config) {
	under(c, w.board)
	c.Route, c.Hasty, c.Silent = w.route, w.hasty, w.silent
}

// Open serves flows on the endpoint that they are under.
func (w *Ways) Open(e *transport.Endpoint) (err error) {
	w.endpoint = e
	cfg := gateway.Config{Endpoint: e, Board: w.board, Rate: w.cfg.Agent.Gateway.Rate * 1e6 / 8, Refuse: w.cfg.Refuse, Links: w.tell, Silent: w.silent, Lost: w.lost, Unreached: w.unreached, Log: w.cfg.Log, Registerer: w.cfg.Registerer}
	if w.cfg.Agent.Federation.Transit {
		cfg.Locate = w.locate
	}
	if w.relay, err = gateway.New(cfg); err != nil {
		return err
	}
	w.openTunnels()
	if w.cfg.Registerer != nil {
		w.paths = newPaths(w)
		w.cfg.Registerer.MustRegister(w.paths)
	}
	return w.group.Go("watch links", w.watch)
}

// Renewed is told that old connections are being replaced.
func (w *Ways) Renewed() {
	w.relay.Again()
	if w.tunnels != nil {
		w.tunnels.Renew()
	}
}

// Stop ends all flows, if Open began with them.
func (w *Ways) Stop(ctx context.Context) error {
	if w.relay == nil {
		return w.group.Stop(ctx)
	}
	if w.paths != nil {
		w.cfg.Registerer.Unregister(w.paths)
	}
	return errors.Join(w.group.Stop(ctx), w.stopTunnels(ctx), w.relay.Stop(ctx))
}

// route dials a server of another datacenter: directly, through gateways that it is behind, or
// through servers that carry for others. Sessions, which say who carries, always go directly.
func (w *Ways) route(ctx context.Context, t transport.Target, protocol string, dial dialer) error {
	k := w.known.Load()
	name := cmp.Or(k.names[t.NodeID], t.Name)
	if w.relay == nil || protocol == gateway.Protocol || name != "" && w.near(name) {
		return dial(ctx, nil)
	}
	way := w.behindGateways(k, t, name)
	if tcp := w.byTCP(); tcp != nil {
		return w.withoutUDP(ctx, way, tcp, dial)
	}
	if name == "" { // who joins somewhere
		return dial(ctx, nil)
	}
	if way.Gateways == nil {
		return w.reach(ctx, k, name, dial)
	}
	addr, err := w.relay.Route(ctx, way)
	if err != nil {
		return err
	}
	return dial(ctx, addr)
}

// behindGateways is the way to a server where one of both is behind gateways; it has none if
// neither is.
func (w *Ways) behindGateways(k *known, t transport.Target, name string) gateway.Way {
	out, _ := w.own()
	way := gateway.Way{Server: name, Gateways: out, Addr: t.Addr, Via: k.via[name]}
	if _, joins := w.behind.Load(t.Addr); joins && way.Via == nil {
		way.Via = []string{t.Addr}
	}
	if way.Via != nil {
		way.Addr = ""
	}
	if way.Gateways == nil {
		way.Gateways, way.Via = way.Via, nil
	}
	return way
}

// near reports whether a server is one of the own datacenter, which dial each other, or of
// none that is known.
func (w *Ways) near(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	return dot < 0 || name[dot+1:] == w.cfg.Agent.Datacenter
}

// Learn notes how servers say that they are reached, and how far they are.
func (w *Ways) Learn(servers []wan.Server, distance func(wan.Server) time.Duration) {
	k := &known{names: map[string]string{}, via: map[string][]string{}}
	for _, srv := range servers {
		name := wan.FullName(srv.Name, srv.Datacenter)
		if srv.ID != "" {
			k.names[srv.ID] = name
		}
		if list := srv.Gateways(); list != nil {
			k.via[name] = list
		}
	}
	k.chart(w.peersOf(servers, distance))
	w.known.Store(k)
	w.keep(k)
	behind := map[string]struct{}{}
	for id, name := range k.names {
		if k.via[name] != nil && !w.near(name) {
			behind[id], behind[name] = struct{}{}, struct{}{}
		}
	}
	w.endpoint.Behind(behind)
}

// Behind lists the servers behind a gateway, for who joins there.
func (w *Ways) Behind(ctx context.Context, addr string) ([]string, error) {
	names, err := w.relay.Servers(ctx, addr)
	if err == nil {
		w.behind.Store(addr, struct{}{})
	}
	return names, err
}

// own are the gateways of this datacenter that everything between datacenters goes
// through, as servers inside reach them, and by those how others do.
func (w *Ways) own() (inside []string, outside map[string]string) {
	if w.cfg.Agent.Federation.Reach != config.ReachGateways {
		return nil, nil
	}
	outside = map[string]string{}
	for _, m := range w.cfg.Gateways() {
		_, port, err := net.SplitHostPort(m.Gateway())
		if err != nil {
			continue
		}
		addr := net.JoinHostPort(m.Addr, port)
		outside[addr] = m.Gateway()
		inside = append(inside, addr)
	}
	return inside, outside
}

// Keep keeps this server reached through gateways, if it is to be, and has those shown.
func (w *Ways) Keep(show func(via, seen string) error) error {
	cfg := w.cfg.Agent
	if cfg.Federation.Reach != config.ReachGateways {
		return nil
	}
	var outside map[string]string
	find := func() (list []string) {
		list, outside = w.gateways()
		w.watchTunnels(list)
		return list
	}
	self := net.JoinHostPort(cfg.AdvertiseAddrWAN, strconv.Itoa(cfg.Ports.SerfWAN))
	return w.relay.Keep(find, func(now []gateway.Registered) {
		w.kept.Store(&now)
		var via []string
		seen := ""
		for _, g := range now {
			if g.Err != nil {
				w.cfg.Log.Warn("this server is not reached through a gateway", "gateway", g.Gateway, "error", g.Err)
				continue
			}
			// Several may be reached at one address, behind a balancer.
			if addr := cmp.Or(outside[g.Gateway], g.Gateway); !slices.Contains(via, addr) {
				via = append(via, addr)
			}
			if g.Observed != self {
				seen = cmp.Or(seen, g.Observed)
			}
		}
		if via == nil {
			return // what is shown is as good as nothing, and may hold again
		}
		select {
		case w.reached <- struct{}{}:
		default: // that is known
		}
		if err := show(fitting(via), seen); err != nil {
			w.cfg.Log.Warn("others were not told which gateways this server is reached through", "error", err)
		}
	})
}

// Reached has a value when a gateway has begun to carry for this server: then others are reached
// that were not before, where UDP goes nowhere but there by TCP.
func (w *Ways) Reached() <-chan struct{} { return w.reached }

// fitting are as many gateways as the tags have room for; a name of more is left out.
func fitting(via []string) string {
	via = via[:min(len(via), maxVia)]
	for len(via) > 0 && len(strings.Join(via, ",")) > maxViaBytes {
		via = via[:len(via)-1]
	}
	return strings.Join(via, ",")
}

func withPort(addr string, port int) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), strconv.Itoa(port))
}

// GatewayAddr is where others reach a client agent that is a gateway, host and port; empty
// if it is none.
func GatewayAddr(cfg *config.Config) string {
	if !cfg.Gateway.Enabled {
		return ""
	}
	return net.JoinHostPort(cfg.AdvertiseAddrWAN, strconv.Itoa(cfg.Ports.SerfWAN))
}

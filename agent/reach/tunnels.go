package reach

import (
	"context"
	"net"
	"slices"
	"strconv"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
	"github.com/legate-project/legate/transport/tunnel"
)

// openTunnels has gateways reached by TCP where UDP does not get through.
func (w *Ways) openTunnels() {
	if w.cfg.Agent.Ports.GatewayTCP < 0 || w.cfg.Identity == nil {
		return
	}
	local := net.ParseIP(bound(w.cfg.Agent))
	if local.IsUnspecified() {
		local = nil
	}
	w.tunnels = tunnel.NewKeeper(tunnel.KeeperConfig{Identity: w.cfg.Identity, Board: w.board, Port: w.tcpPort, Local: local,
		Changed: func(string, bool) { w.wayChanged() },
		Log:     w.cfg.Log.With("component", "gateway"), Registerer: w.cfg.Registerer})
}

// wayChanged has connections to gateways say something over the new way now: by that gateways know
// where this server is, and what was lost before is sent again.
func (w *Ways) wayChanged() {
	for _, r := range w.endpoint.Remotes(gateway.Protocol) {
		if r.Peer.Gateway {
			r.Link.Doubt()
		}
	}
	w.relay.Again()
}

// byTCP are the gateways of this server that are reached by TCP, since UDP does not get through.
func (w *Ways) byTCP() []string {
	if w.tunnels == nil {
		return nil
	}
	return w.ofOwn(w.tunnels.InUse())
}

// ofOwn are those of some gateways that this server is to be reached through. Another one, which
// servers of another datacenter show, says by answering TCP and not UDP how that one is reached, and
// must not draw to it what goes to others.
func (w *Ways) ofOwn(gateways []string) (own []string) {
	if len(gateways) == 0 || w.cfg.Agent.Federation.Reach != config.ReachGateways {
		return nil
	}
	all, _ := w.gateways()
	for _, g := range gateways {
		if slices.Contains(all, g) {
			own = append(own, g)
		}
	}
	return own
}

// gateways are those that this server is to be reached through, those of the own datacenter and
// those that the configuration names, and by the former how others reach them.
func (w *Ways) gateways() (all []string, outside map[string]string) {
	all, outside = w.own()
	for _, g := range w.cfg.Agent.Federation.Gateways {
		all = append(all, withPort(g, w.cfg.Agent.Ports.SerfWAN))
	}
	return all, outside
}

// withoutUDP dials a server through those gateways: where UDP does not reach them it will hardly
// reach others, which is tried all the same. Gateways of the own datacenter, or of the server, count if
// there are some.
func (w *Ways) withoutUDP(ctx context.Context, way gateway.Way, tcp []string, dial dialer) error {
	through := func(way gateway.Way) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			addr, err := w.relay.Route(ctx, way)
			if err != nil {
				return err
			}
			return dial(ctx, addr)
		}
	}
	tries := []try{{run: func(ctx context.Context) error { return dial(ctx, nil) }}}
	if way.Gateways != nil {
		tries[0].run = through(way)
	}
	over := way
	if len(over.Via) == 0 && over.Addr == "" {
		over.Via = over.Gateways
	}
	over.Gateways = tcp
	_, err := race(ctx, w.group, append([]try{{run: through(over), head: headStart}}, tries...))
	return err
}

func (w *Ways) stopTunnels(ctx context.Context) error {
	if w.tunnels == nil {
		return nil
	}
	return w.tunnels.Stop(ctx)
}

// tcpPort is the port of TCP of a gateway, 0 if it has none: what is configured here, what one of
// the own datacenter shows, or the number of its port of UDP.
func (w *Ways) tcpPort(at string) int {
	if p := w.cfg.Agent.Ports.GatewayTCP; p > 0 {
		return p
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return 0
	}
	for _, m := range w.cfg.Gateways() {
		if _, shown, err := net.SplitHostPort(m.Gateway()); err == nil && m.Addr == host && shown == port {
			return m.GatewayTCP()
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// watchTunnels has it found out whether UDP gets through to gateways.
func (w *Ways) watchTunnels(gateways []string) {
	if w.tunnels == nil {
		return
	}
	for _, g := range gateways {
		w.tunnels.Watch(g)
	}
}

// unreached is told of a gateway to which no connection came about.
func (w *Ways) unreached(at string) {
	if w.tunnels != nil {
		w.tunnels.Doubt(at)
	}
}

// deaf is told of a peer that fell silent, which may be a gateway.
func (w *Ways) deaf(r transport.Remote) {
	if w.tunnels != nil {
		w.tunnels.DoubtAt(r.Addr.String())
	}
}

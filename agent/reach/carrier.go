package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
	"github.com/legate-project/legate/transport/tunnel"
)

// Carrier is what a gateway has under its endpoint.
type Carrier struct {
	board   *relay.Board
	removed *atomic.Pointer[[]string] // datacenters whose servers and gateways are refused
}

// errRemoved is why nothing is carried from and to a datacenter.
var errRemoved = errors.New("the federation has removed its datacenter")

// NewCarrier returns a carrier that carries nothing before Carry.
func NewCarrier() Carrier {
	c := Carrier{relay.NewBoard(), &atomic.Pointer[[]string]{}}
	c.removed.Store(&[]string{})
	return c
}

// refuse returns why nothing is carried from and to a datacenter, nil if it is.
func (c Carrier) refuse(datacenter string) error {
	if slices.Contains(*c.removed.Load(), datacenter) {
		return fmt.Errorf("%w: %s (take it back there: legate federation allow %s)", errRemoved, datacenter, datacenter)
	}
	return nil
}

// Under puts the carrier under an endpoint.
func (c Carrier) Under(t *transport.Config) { under(t, c.board) }

// under puts flows under an endpoint, whose gate counts what comes over them by who is behind them.
func under(t *transport.Config, board *relay.Board) {
	t.Conn = relay.Wrap(t.Conn, board)
	if t.Gate != nil {
		t.Gate.CountAs(board.CountAs)
	}
}

// Carrying is a gateway at work.
type Carrying struct {
	carrier  Carrier
	endpoint *transport.Endpoint
	log      *slog.Logger

	relay   *gateway.Relay
	tunnels *tunnel.Server // nil if it takes none
}

// Carry has the endpoint carry flows of others, until Stop of what it returns, and takes tunnels
// if the configuration says so.
func (c Carrier) Carry(e *transport.Endpoint, cfg Config) (*Carrying, error) {
	rate, log := cfg.Agent.Gateway.Rate*1e6/8, cfg.Log.With("component", "gateway")
	var listener net.Listener
	if port := cfg.Agent.Ports.GatewayTCP; port > 0 {
		addr := net.JoinHostPort(bound(cfg.Agent), strconv.Itoa(port))
		var err error
		if listener, err = tunnel.Listen(addr); err != nil {
			return nil, fmt.Errorf("listen as a gateway on %s/tcp (ports.gateway_tcp): %w", addr, err)
		}
	}
	r, err := gateway.New(gateway.Config{Endpoint: e, Board: c.board, Carries: true, Rate: rate, Refuse: c.refuse, Log: cfg.Log, Registerer: cfg.Registerer})
	if err != nil || listener == nil {
		return &Carrying{c, e, log, r, nil}, err
	}
	t, err := tunnel.Serve(tunnel.ServerConfig{Listener: listener, Identity: cfg.Identity, Board: c.board, Refuse: c.refuse, Rate: rate,
		Log: log, Registerer: cfg.Registerer})
	if err != nil {
		return nil, errors.Join(err, listener.Close(), r.Stop(context.Background()))
	}
	return &Carrying{c, e, log, r, t}, nil
}

// Removed says which datacenters the federation refuses now. The sessions of those that are new among them
// end, and what they carry with them.
func (c *Carrying) Removed(datacenters []string) {
	before := *c.carrier.removed.Load()
	added := slices.DeleteFunc(slices.Clone(datacenters), func(dc string) bool { return slices.Contains(before, dc) })
	c.carrier.removed.Store(&datacenters)
	if len(added) == 0 {
		return
	}
	n := c.endpoint.Expel(func(p identity.Peer) bool { return slices.Contains(added, p.Datacenter) }, errRemoved.Error())
	if c.tunnels != nil {
		c.tunnels.EndRefused()
	}
	c.log.Info("nothing is carried from and to datacenters that the federation has removed", "datacenters", added, "sessions", n)
}

// bound is the host that everything between datacenters is bound to.
func bound(c *config.Config) string { return cmp.Or(c.SerfWANBind, c.BindAddr) }

// Renew ends what was proven by what counts no more.
func (c *Carrying) Renew() {
	if c.tunnels != nil {
		c.tunnels.Renew()
	}
}

// Stop ends what is carried.
func (c *Carrying) Stop(ctx context.Context) error {
	if c.tunnels == nil {
		return c.relay.Stop(ctx)
	}
	return errors.Join(c.tunnels.Stop(ctx), c.relay.Stop(ctx))
}

package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
	"github.com/legate-project/legate/transport/relay"
	"github.com/legate-project/legate/transport/tunnel"
)

// Carrier is what a gateway has under its endpoint.
type Carrier struct{ board *relay.Board }

// NewCarrier returns a carrier that carries nothing before Carry.
func NewCarrier() Carrier { return Carrier{relay.NewBoard()} }

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
	relay   *gateway.Relay
	tunnels *tunnel.Server // nil if it takes none
}

// Carry has the endpoint carry flows of others, until Stop of what it returns, and takes tunnels
// if the configuration says so.
func (c Carrier) Carry(e *transport.Endpoint, cfg Config) (*Carrying, error) {
	rate := cfg.Agent.Gateway.Rate * 1e6 / 8
	var listener net.Listener
	if port := cfg.Agent.Ports.GatewayTCP; port > 0 {
		addr := net.JoinHostPort(bound(cfg.Agent), strconv.Itoa(port))
		var err error
		if listener, err = tunnel.Listen(addr); err != nil {
			return nil, fmt.Errorf("listen as a gateway on %s/tcp (ports.gateway_tcp): %w", addr, err)
		}
	}
	r, err := gateway.New(gateway.Config{Endpoint: e, Board: c.board, Carries: true, Rate: rate, Log: cfg.Log, Registerer: cfg.Registerer})
	if err != nil || listener == nil {
		return &Carrying{relay: r}, err
	}
	t, err := tunnel.Serve(tunnel.ServerConfig{Listener: listener, Identity: cfg.Identity, Board: c.board, Refuse: cfg.Refuse, Rate: rate,
		Log: cfg.Log.With("component", "gateway"), Registerer: cfg.Registerer})
	if err != nil {
		return nil, errors.Join(err, listener.Close(), r.Stop(context.Background()))
	}
	return &Carrying{r, t}, nil
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

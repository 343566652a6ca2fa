package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/legate-project/legate/agent/certificates"
	"github.com/legate-project/legate/agent/gateways"
	"github.com/legate-project/legate/agent/reach"
	"github.com/legate-project/legate/client"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op/feed"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/op/view"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
)

// startClient starts what carries this agent's calls to servers.
func (a *Agent) startClient(_ context.Context, id transport.Identity) error {
	addr := a.bind("", 0) // calls go out from any port
	endpoint, err := a.endpoint("lan", addr, id)
	if err != nil {
		return fmt.Errorf("open a socket for calls on %s: %w", addr, err)
	}
	a.calls = endpoint
	list := &serverList{}
	a.servers = list
	err = errors.Join(endpoint.Handle(rpc.Protocol, transport.Protocol{Shared: true}), endpoint.Handle(rpc.PartsProtocol, rpc.DialParts()),
		endpoint.Handle(transfer.Protocol, transfer.Dial()), endpoint.Handle(feed.Protocol, feed.Dial()), endpoint.Handle(certificates.EnrollProtocol, transport.Protocol{PoolSize: 1}))
	if err != nil {
		return err
	}
	a.snapshots = remoteSnapshots{list, endpoint}
	self := lan.Server{Name: a.cfg.NodeName, ID: a.id, Datacenter: a.cfg.Datacenter, Build: version.Build()}
	if err := a.openLAN(self, list, a.serversChanged); err != nil {
		return err
	}
	if err := a.enroll(endpoint, list); err != nil {
		return err
	}
	if a.cfg.Gateway.Enabled {
		if err := a.startGateway(list); err != nil {
			return err
		}
	}
	servers := client.New(client.Config{Datacenter: a.cfg.Datacenter, Servers: list, Transport: endpoint, Streams: endpoint,
		HoldTimeout: a.cfg.Performance.RPCHoldTimeout, Timeout: a.limits.Timeout, Rate: a.limits.Calls, Log: a.log, Registerer: a.reg})
	singleFlight := view.NewSingleFlight(servers)
	if err := a.group.OnStop("calls", singleFlight.Stop); err != nil {
		return err
	}
	if a.views, err = view.New(view.Config{Datacenter: a.cfg.Datacenter, Next: singleFlight, Source: servers, ByToken: true,
		MaxStale: a.cfg.ViewMaxStale, Log: a.log, Registerer: a.reg}); err != nil {
		return err
	}
	a.caller, a.own = a.views, servers.Own()
	return a.group.OnStop("views", a.views.Stop)
}

// enroll has servers give this agent a certificate, if the configuration says so.
func (a *Agent) enroll(endpoint *transport.Endpoint, list *serverList) error {
	if !a.cfg.AutoEncrypt.TLS {
		return nil
	}
	e := certificates.Enrollment{Calls: endpoint, Servers: list.targets, Granted: func() { // who refused this agent before will not now
		for _, p := range []string{rpc.Protocol, rpc.PartsProtocol, transfer.Protocol, feed.Protocol, gateways.Protocol} {
			endpoint.Anew(p)
		}
	}}
	return a.group.Go("certificate from servers", func(ctx context.Context) { a.certs.Enroll(ctx, e) })
}

// startGateway has this client agent carry what servers of datacenters say to each other.
func (a *Agent) startGateway(list *serverList) error {
	addr, c := a.bind(a.cfg.SerfWANBind, a.cfg.Ports.SerfWAN), reach.NewCarrier()
	e, err := a.endpoint("wan", addr, a.gateway.shows, a.wraps, c.Under)
	if err != nil {
		return fmt.Errorf("listen as a gateway on %s (ports.serf_wan): %w", addr, err)
	}
	r, err := c.Carry(e, reach.Config{Agent: a.cfg, Identity: a.gateway.shows, Log: a.log, Registerer: a.reg})
	if err != nil {
		return err
	}
	if err := a.group.OnStop("gateway", r.Stop); err != nil || a.gateway.keys == nil {
		return err
	}
	asks := gateways.Applicant{Calls: a.calls, Servers: list.targets, Token: a.tokens.forAgent, Keys: a.gateway.keys, Files: a.gateway.shows, Given: func(lost bool) {
		e.Anew(gateway.Protocol)
		if lost {
			r.Renew()
			e.Renew(time.Time{}) // those whose peers showed nothing that counts now
		}
	}, Removed: r.Removed, Log: a.log.With("component", "gateway")}
	if err := a.calls.Handle(gateways.Protocol, gateways.Dial(a.cfg.Datacenter)); err != nil {
		return err
	}
	return a.group.Go("identity of the gateway", asks.Run)
}

// targets are the servers as they are called.
func (l *serverList) targets() (targets []transport.Target) {
	for _, srv := range l.Servers() {
		targets = append(targets, transport.Target{Addr: srv.RPCAddr(), NodeID: srv.ID, Name: srv.Name})
	}
	return targets
}

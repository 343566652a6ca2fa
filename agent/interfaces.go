package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/legate-project/legate/agent/failover"
	"github.com/legate-project/legate/agent/host"
	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/agent/sockets"
	"github.com/legate-project/legate/httpapi"
	agentapi "github.com/legate-project/legate/httpapi/agent"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/metrics"
	"github.com/legate-project/legate/state/coordinate"
)

// startInterfaces opens what clients talk to, last of all: when it answers,
// the agent is up.
func (a *Agent) startInterfaces() error {
	if err := a.startHTTP(); err != nil {
		return err
	}
	return a.startDNS()
}

func (a *Agent) startHTTP() error {
	a.failover = failover.New(failover.Config{Datacenter: a.cfg.Datacenter, Caller: a.own, Token: a.tokens.forAgent, Log: a.log})
	if err := a.group.Go("rules of failover", a.failover.Run); err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		Caller: a.caller, Agent: apiAgent{a}, Local: a.local, Snapshots: a.snapshots, Events: a.events, Metrics: a.reg.Handler(a.metricNames()), AgentMetrics: a.reg.AgentHandler(a.metricNames()),
		MetricsStream: a.reg.StreamHandler(a.metricNames(), cmp.Or(a.opts.Timing.MetricsInterval, metrics.StreamInterval)), Logs: a.logs, DefaultToken: a.tokens.forRequests,
		Authorizer: a.rights, ACL: a.cfg.ACL, UI: a.cfg.UIConfig, Domain: a.cfg.Domain,
		Datacenter: a.cfg.Datacenter, NodeName: a.cfg.NodeName, TranslateWAN: a.cfg.TranslateWANAddrs, MaxValueSize: a.cfg.Limits.KVMaxValueSize, MaxTxnSize: a.cfg.Limits.TxnMaxReqLen,
		DefaultQueryTime: a.cfg.DefaultQueryTime, MaxQueryTime: a.cfg.MaxQueryTime, Gate: a.limits.HTTP,
		HTTP: a.cfg.HTTPConfig, Debug: func() bool { return a.live.Load().EnableDebug }, Tracer: a.tracer, Log: a.log, Registerer: a.reg, Authority: a.certs.Identity().Authority,
		Failover: a.failover, DNSFailover: func() (map[string][]string, bool) {
			c := &a.live.Load().DNSConfig
			return c.Failover, c.OnlyPassing
		},
		Names:             a.explainer,
		DiscoveryMaxStale: func() time.Duration { return a.live.Load().DiscoveryMaxStale },
	})
	if err != nil {
		return fmt.Errorf("set up the HTTP interface: %w", err)
	}
	for _, addr := range a.cfg.HTTPAddrs() {
		if err := a.serveHTTP(api.Serve, addr, "HTTP", "client_addr, ports.http", &a.http); err != nil {
			return err
		}
	}
	for _, addr := range a.cfg.HTTPSAddrs() {
		serve := func(ctx context.Context, l net.Listener) error {
			return api.ServeTLS(ctx, l, a.certs.HTTPS(), a.cfg.Limits.HTTPSHandshakeTimeout)
		}
		if err := a.serveHTTP(serve, addr, "HTTPS", "client_addr, ports.https", &a.https); err != nil {
			return err
		}
	}
	return nil
}

// serveHTTP listens at an address and serves what comes until the agent stops.
func (a *Agent) serveHTTP(serve func(context.Context, net.Listener) error, addr, what, keys string, addrs *[]net.Addr) error {
	l, err := sockets.Listen(addr, a.cfg.UnixSockets)
	if err != nil {
		return fmt.Errorf("listen for %s on %s (%s): %w", what, addr, keys, err)
	}
	*addrs = append(*addrs, l.Addr())
	err = a.group.Go(what+" on "+addr, func(ctx context.Context) {
		if err := serve(ctx, l); err != nil {
			a.finish(&FatalError{fmt.Errorf("serve %s on %s: %w", what, addr, err)})
		}
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// apiAgent is the agent as the HTTP interface sees it.
type apiAgent struct{ a *Agent }

var _ agentapi.Agent = apiAgent{}

// Self implements agentapi.Agent.
func (p apiAgent) Self() agentapi.SelfView {
	a := p.a
	v := agentapi.SelfView{
		Config: agentapi.SelfConfig{Datacenter: a.cfg.Datacenter, PrimaryDatacenter: orElse(a.cfg.PrimaryDatacenter, a.cfg.Datacenter),
			NodeName: a.cfg.NodeName, NodeID: a.id, Server: a.cfg.Server, Revision: version.Revision(), BuildDate: buildDate(), Version: version.Consul},
		DebugConfig: a.debugConfig(), Member: member(a.lan.LocalMember()), Stats: a.Stats(), Meta: nodeMeta(a.live.Load()),
	}
	if c := a.lan.Coordinate(); c != nil {
		coord := coordinate.FromSerf(c)
		v.Coord = &coord
	}
	return v
}

// SetToken implements agentapi.Agent.
func (p apiAgent) SetToken(target, secret string) error {
	if err := p.a.tokens.put(target, secret); err != nil {
		return fmt.Errorf("keep the token %s: %w", target, err)
	}
	p.a.log.Info("token was set", "target", target)
	return nil
}

// Host implements agentapi.Agent.
func (p apiAgent) Host() any { return host.Read(orElse(p.a.dir.path, ".")) }

// Ready implements agentapi.Agent.
func (p apiAgent) Ready(ctx context.Context, limit *time.Duration) ready.State {
	return p.a.Ready(ctx, limit)
}

// Members implements agentapi.Agent.
func (p apiAgent) Members(wan bool) ([]agentapi.Member, error) {
	list := p.a.lan.Members()
	if wan {
		pool, err := p.a.wanPool()
		if err != nil {
			return nil, err
		}
		list = pool.Members()
	}
	out := make([]agentapi.Member, 0, len(list))
	for _, m := range list {
		out = append(out, member(m))
	}
	return out, nil
}

func member(m gossip.Member) agentapi.Member {
	return agentapi.Member{Name: m.Name, Addr: m.Addr, Port: m.Port, Tags: m.Tags, Status: int(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur}
}

// Join implements agentapi.Agent.
func (p apiAgent) Join(_ context.Context, addrs []string, wan bool) (int, error) {
	if !wan {
		return p.a.lan.Join(addrs)
	}
	pool, err := p.a.wanPool()
	if err != nil {
		return 0, err
	}
	return pool.Join(addrs)
}

// Leave implements agentapi.Agent: it says goodbye and lets the process end.
func (p apiAgent) Leave(ctx context.Context) error {
	err := p.a.Leave(ctx)
	p.a.finish(nil)
	return err
}

// ForceLeave implements agentapi.Agent.
func (p apiAgent) ForceLeave(_ context.Context, node string, prune, wan bool) error {
	if !wan {
		return p.a.lan.ForceLeave(node, prune)
	}
	pool, err := p.a.wanPool()
	if err != nil {
		return err
	}
	return pool.ForceLeave(node, prune)
}

// errNoReload is the answer of an agent that was not started from files.
var errNoReload = errors.New("this agent cannot read its configuration again")

// Reload implements agentapi.Agent.
func (p apiAgent) Reload() error {
	if p.a.opts.Load == nil {
		return errNoReload
	}
	cfg, err := p.a.opts.Load()
	if err != nil {
		return err
	}
	return p.a.Reload(cfg)
}

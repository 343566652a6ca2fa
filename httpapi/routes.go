package httpapi

import (
	"context"
	"slices"

	"github.com/legate-project/legate/httpapi/acl"
	"github.com/legate-project/legate/httpapi/agent"
	"github.com/legate-project/legate/httpapi/catalog"
	"github.com/legate-project/legate/httpapi/coordinate"
	"github.com/legate-project/legate/httpapi/event"
	"github.com/legate-project/legate/httpapi/failover"
	"github.com/legate-project/legate/httpapi/federation"
	"github.com/legate-project/legate/httpapi/health"
	"github.com/legate-project/legate/httpapi/kv"
	"github.com/legate-project/legate/httpapi/mesh"
	"github.com/legate-project/legate/httpapi/names"
	"github.com/legate-project/legate/httpapi/operator"
	"github.com/legate-project/legate/httpapi/query"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/session"
	"github.com/legate-project/legate/httpapi/snapshot"
	"github.com/legate-project/legate/httpapi/status"
	"github.com/legate-project/legate/httpapi/txn"
	"github.com/legate-project/legate/httpapi/ui"
)

// Routes is the whole API, from top to bottom. The rows of an area are in its package.
func Routes(c Config) []rest.Route {
	fed := &federation.API{Caller: c.Caller, Server: func() bool { return c.Agent.Self().Config.Server }}
	fails := newFails(&c)
	return slices.Concat(
		(&front{&c}).rows(),
		(&kv.API{Caller: c.Caller, MaxValueSize: c.MaxValueSize}).Routes(),
		(&txn.API{Caller: c.Caller, MaxValueSize: c.MaxValueSize, MaxTxnSize: c.MaxTxnSize}).Routes(),
		rest.Discovery(c.DiscoveryMaxStale, (&catalog.API{Caller: c.Caller}).Routes()),
		rest.Discovery(c.DiscoveryMaxStale, (&health.API{Caller: c.Caller, Failover: fails.ownFirst}).Routes()),
		(&agent.API{Agent: c.Agent, Local: c.Local, Quit: fed.Quit, Metrics: c.AgentMetrics, MetricsStream: c.MetricsStream, Logs: c.Logs,
			Datacenter: c.Datacenter, DefaultQueryTime: c.DefaultQueryTime, MaxQueryTime: c.MaxQueryTime}).Routes(),
		(&status.API{Caller: c.Caller}).Routes(),
		fed.Routes(),
		(&coordinate.API{Caller: c.Caller}).Routes(),
		(&operator.API{Caller: c.Caller}).Routes(),
		fails.Routes(),
		(&names.API{Explainer: c.Names}).Routes(),
		(&session.API{Caller: c.Caller, NodeName: c.NodeName, Datacenter: c.Datacenter}).Routes(),
		(&query.API{Caller: c.Caller, NodeName: c.NodeName, Datacenter: c.Datacenter}).Routes(),
		(&event.API{Caller: c.Caller, Events: c.Events, Datacenter: c.Datacenter}).Routes(),
		(&snapshot.API{Source: c.Snapshots}).Routes(),
		(&acl.API{Caller: c.Caller, Config: c.ACL, NodeName: c.NodeName, Datacenter: c.Datacenter}).Routes(),
		(&ui.API{Caller: c.Caller}).Routes(),
		(&mesh.API{Authority: c.Authority}).Routes(),
	)
}

// fails are the routes about services that fail over, with what those of health need of it.
type fails struct {
	failover.API
	ownFirst func(service string) (string, context.Context)
}

func newFails(c *Config) *fails {
	f := &fails{API: failover.API{Caller: c.Caller, Datacenter: c.Datacenter, Configured: c.DNSFailover}}
	if c.Failover != nil {
		f.Rule, f.ownFirst = c.Failover.Rule, c.Failover.OwnFirst
	}
	if f.Configured == nil {
		f.Configured = func() (map[string][]string, bool) { return nil, false }
	}
	return f
}

// Package agent is the agent that clients talk to, over HTTP: its services and checks,
// its membership, its metrics and its log. It asks the catalog nothing.
package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
)

// API is what the area depends on.
type API struct {
	Agent Agent
	Local Local
	// Quit answers /v1/agent/leave?wan.
	Quit rest.Handler
	// Metrics answers /v1/agent/metrics and MetricsStream its stream; nil answers
	// 404.
	Metrics, MetricsStream http.Handler
	// Logs is what /v1/agent/monitor listens to; nil answers 404.
	Logs       *logging.Tee
	Datacenter string
	// DefaultQueryTime and MaxQueryTime bound waiting for another hash.
	DefaultQueryTime, MaxQueryTime time.Duration
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	m := &monitors{logs: a.Logs, places: newPlaces(maxMonitors)}
	streams := &metricsStreams{handler: a.MetricsStream, places: newPlaces(maxStreams)}
	return []rest.Route{
		{Path: "/v1/agent/self", Get: rest.Needs(rules.Agent, rules.Read, a.self)},
		{Path: "/v1/agent/host", Get: rest.Needs(rules.Operator, rules.Read, a.host)},
		{Path: "/v1/agent/version", Get: a.version},
		{Path: "/v1/agent/ready", Get: a.ready},
		{Path: "/v1/agent/members", Get: a.members},
		{Path: "/v1/agent/join/", Put: rest.Needs(rules.Agent, rules.Write, a.join)},
		{Path: "/v1/agent/leave", Put: rest.Needs(rules.Agent, rules.Write, a.leave)},
		{Path: "/v1/agent/force-leave/", Put: rest.Needs(rules.Operator, rules.Write, a.forceLeave)},
		{Path: "/v1/agent/reload", Put: rest.Needs(rules.Agent, rules.Write, a.reload)},
		{Path: "/v1/agent/metrics", Get: rest.Needs(rules.Agent, rules.Read, a.metrics)},
		{Path: "/v1/agent/metrics/stream", Get: rest.Lasting(rules.Agent, rules.Read, streams.serve)},
		{Path: "/v1/agent/monitor", Get: rest.Lasting(rules.Agent, rules.Read, m.serve)},
		{Path: "/v1/agent/maintenance", Put: rest.Needs(rules.Node, rules.Write, a.maintenance)},
		{Path: "/v1/agent/token/", Put: rest.Needs(rules.Agent, rules.Write, a.token)},
		{Path: "/v1/agent/services", Get: a.services},
		{Path: "/v1/agent/service/", Get: a.service},
		{Path: "/v1/agent/service/register", Put: a.serviceRegister},
		{Path: "/v1/agent/service/deregister/", Put: a.serviceDeregister},
		{Path: "/v1/agent/service/maintenance/", Put: a.serviceMaintenance},
		{Path: "/v1/agent/health/service/id/", Get: a.healthByID},
		{Path: "/v1/agent/health/service/name/", Get: a.healthByName},
		{Path: "/v1/agent/checks", Get: a.checks},
		{Path: "/v1/agent/check/register", Put: a.checkRegister},
		{Path: "/v1/agent/check/deregister/", Put: a.checkDeregister},
		{Path: "/v1/agent/check/pass/", Put: a.checkPass},
		{Path: "/v1/agent/check/warn/", Put: a.checkWarn},
		{Path: "/v1/agent/check/fail/", Put: a.checkFail},
		{Path: "/v1/agent/check/update/", Put: a.checkUpdate},
		{Path: "/v1/agent/connect/authorize", Mesh: "POST"},
		{Path: "/v1/agent/connect/ca/leaf/", Mesh: "GET"},
	}
}

// Agent is what the API needs of the agent that it runs in.
type Agent interface {
	Facts
	Membership
	Settings
}

// Facts are what an agent tells of itself.
type Facts interface {
	Self() SelfView
	Members(wan bool) ([]Member, error)
	// Ready says whether the agent is one to send requests to. With a limit it is if
	// its server heard a leader within it.
	Ready(ctx context.Context, limit *time.Duration) ready.State
	// Host describes the machine: memory, processors, system and disk.
	Host() any
}

// Membership is an agent's part in its gossip pools.
type Membership interface {
	// Join contacts the addresses and returns how many answered.
	Join(ctx context.Context, addrs []string, wan bool) (int, error)
	Leave(ctx context.Context) error
	ForceLeave(ctx context.Context, node string, prune, wan bool) error
}

// Settings are what can be changed of an agent while it runs.
type Settings interface {
	Reload() error
	// SetToken takes one of the tokens that the agent uses itself.
	SetToken(target, secret string) error
}

// Local is the agent's own services and checks; *local.State is one, and its
// errors are those of package agent/local.
type Local interface {
	Records
	Services
	Checks
	// Maintain takes the node, or the service with the ID, into maintenance or out.
	Maintain(serviceID string, on bool, reason string) error
	// AwaitSync waits until the catalog has taken or refused what was changed before
	// of a service with its checks, or of a check; with neither, of the node's own
	// checks. It gives up after a while, and when ctx ends.
	AwaitSync(ctx context.Context, service, checkID string)
}

// Records are the services and checks that an agent has.
type Records interface {
	Services() map[string]catalog.Service
	// Service returns one service and a channel that is closed when it changes
	// or goes.
	Service(id string) (s catalog.Service, changed <-chan struct{}, ok bool)
	Checks() map[string]catalog.Check
	// Check returns one check, also one that is kept while scripts are disabled.
	Check(id string) (c catalog.Check, ok bool)
	// Registered are the services that a definition would register, with the IDs that
	// they and their checks go by.
	Registered(def config.ServiceDefinition) ([]config.ServiceDefinition, error)
}

// Services takes and removes services.
type Services interface {
	// AddService leaves checks alone that the service has and that are not in
	// the definition; ReplaceService removes them.
	AddService(config.ServiceDefinition) error
	ReplaceService(config.ServiceDefinition) error
	RemoveService(id string) error
}

// Checks takes and removes checks, and what a service reports of its own.
type Checks interface {
	AddCheck(config.CheckDefinition) error
	RemoveCheck(id string) error
	UpdateTTL(id, status, output string) error
}

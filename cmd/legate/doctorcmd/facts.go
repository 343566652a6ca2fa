package doctorcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/state/status"
)

// source is where facts come from. A check whose source is missing is skipped.
type source int

const (
	fromAgent source = iota // that one answers at all
	fromSettings
	fromSelf
	fromMetrics
	fromMembers
	fromWAN
	fromAutopilot
	fromFederation
	fromNodes
	fromServices
	fromMachine // this machine, where the agent runs or is to run
	fromDisk
	fromProcess
	fromPorts
	fromSyncs
	fromPaths
	fromNames
	fromFiles
)

// facts are all that checks look at; they look at nothing else.
type facts struct {
	now   time.Time
	lacks map[source]string // why there is nothing of a source

	address    string // of the agent
	noAgent    string // why none answers; empty if one does
	ready      ready.State
	settings   settings
	self       self
	metrics    samples
	members    []member
	wan        []member
	autopilot  api.AutopilotState
	federation []status.View
	nodes      []struct{ Node string }
	services   map[string][]string

	configured configured // of files; only where no agent answers

	machine machine
	disk    disk
	process process
	ports   []port
	paths   []path
	names   []lookup
	files   []error // what is wrong with those of certificates
}

// settings are those of the agent that runs or, without one, of the files.
type settings struct {
	Datacenter string `json:"datacenter"`
	Node       string `json:"node_name"`
	DataDir    string `json:"data_dir"`
	Bind       string `json:"bind_addr"`
	Server     bool   `json:"server"`
	Dev        bool   `json:"DevMode"`
	Expect     int    `json:"bootstrap_expect"`
	Scripts    bool   `json:"enable_script_checks"`

	RetryJoin    []string `json:"retry_join"`
	RetryJoinWAN []string `json:"retry_join_wan"`

	ACL struct {
		Enabled       bool   `json:"enabled"`
		DefaultPolicy string `json:"default_policy"`
	} `json:"acl"`
	HTTP struct {
		WriteFrom []string `json:"allow_write_http_from"`
	} `json:"http_config"`
	Autopilot struct {
		Stabilization duration `json:"server_stabilization_time"`
	} `json:"autopilot"`
	Performance struct {
		RaftMultiplier int `json:"raft_multiplier"`
	} `json:"performance"`
	Ports struct {
		SerfLAN int `json:"serf_lan"`
		SerfWAN int `json:"serf_wan"`
		Server  int `json:"server"`
		DNS     int `json:"dns"`
	} `json:"ports"`

	bound []port // where it is to listen; only of files
}

// duration is one that is written as 1m30s.
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

// self is what the agent says of itself.
type self struct {
	DebugConfig settings
	Stats       struct {
		Build struct {
			Legate string `json:"legate_version"`
		} `json:"build"`
	}
}

// member is one of a gossip pool.
type member struct {
	Name   string
	Addr   string
	Port   int
	Tags   map[string]string
	Status int
}

// What a member is, in the numbers of Serf.
const (
	alive  = 1
	failed = 4
)

func (m *member) server() bool       { return m.Tags["role"] == "consul" }
func (m *member) datacenter() string { return m.Tags["dc"] }

// gather asks the agent and looks at the machine. What cannot be had is in lacks.
func gather(ctx context.Context, a *asker, files configured) *facts {
	f := &facts{now: time.Now(), lacks: map[source]string{}, address: a.base}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	f.askReady(ctx, a)
	if f.noAgent == "" {
		f.ask(ctx, a)
	} else {
		for s := fromSelf; s <= fromServices; s++ {
			f.lacks[s] = "no agent answers"
		}
		f.lacks[fromAgent] = "no agent answers"
		f.take(files)
	}
	f.survey(ctx, a.local || f.noAgent != "")
	return f
}

// askReady finds out whether there is an agent.
func (f *facts) askReady(ctx context.Context, a *asker) {
	got, err := a.get(ctx, "/v1/agent/ready")
	if err != nil {
		f.noAgent = err.Error()
		return
	}
	if json.Unmarshal(got.body, &f.ready) != nil || f.ready.Status == "" {
		f.lacks[fromAgent] = fmt.Sprintf("it answered %d to /v1/agent/ready: it is of an earlier version, or no agent", got.status)
	}
}

// ask asks the agent for everything, at once.
func (f *facts) ask(ctx context.Context, a *asker) {
	var g errgroup.Group
	var mu sync.Mutex
	for _, q := range []question{
		{fromSelf, "/v1/agent/self", "agent:read", &f.self},
		{fromMetrics, "/v1/agent/metrics?format=prometheus", "agent:read", &f.metrics},
		{fromMembers, "/v1/agent/members", "node:read", &f.members},
		{fromWAN, "/v1/agent/members?wan", "node:read", &f.wan},
		{fromAutopilot, "/v1/operator/autopilot/state", "operator:read", &f.autopilot},
		{fromFederation, "/v1/federation/status", "operator:read", &f.federation},
		{fromNodes, "/v1/catalog/nodes?stale", "node:read", &f.nodes},
		{fromServices, "/v1/catalog/services?stale", "service:read", &f.services},
	} {
		g.Go(func() error {
			if why := a.put(ctx, q); why != "" {
				mu.Lock()
				f.lacks[q.from] = why
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // each says in lacks what went wrong
	f.settings = f.self.DebugConfig
	f.lacks[fromSettings] = f.lacks[fromSelf]
	if f.lacks[fromSelf] == "" && !f.settings.Server {
		f.lacks[fromWAN] = "" // a client agent takes no part in it, and says so
	}
}

// survey looks at the machine, if it is the agent's, and at the network.
func (f *facts) survey(ctx context.Context, here bool) {
	var g errgroup.Group
	var mu sync.Mutex
	run := func(s source, look func() string) {
		if f.lacks[s] != "" {
			return
		}
		g.Go(func() error {
			if why := look(); why != "" {
				mu.Lock()
				f.lacks[s] = why
				mu.Unlock()
			}
			return nil
		})
	}
	if why := f.lacks[fromSettings]; why != "" {
		for _, s := range []source{fromDisk, fromProcess, fromPorts, fromNames, fromPaths, fromSyncs} {
			f.lacks[s] = why
		}
	}
	if !here {
		for _, s := range []source{fromMachine, fromDisk, fromProcess, fromPorts, fromPaths, fromNames, fromSyncs} {
			f.lacks[s] = "the agent runs on another machine: run this there"
		}
	}
	if f.noAgent != "" && f.lacks[fromProcess] == "" {
		f.lacks[fromProcess] = "no agent answers"
	}
	s := f.settings
	run(fromMachine, func() string { return f.machine.read(s) })
	run(fromDisk, func() string { return f.disk.read(s.DataDir, f.noAgent != "") })
	run(fromProcess, func() string { return f.process.read(s) })
	if f.noAgent != "" {
		run(fromPorts, func() string { f.ports = tryPorts(s.bound); return "" })
	}
	run(fromNames, func() string { f.names = lookUp(ctx, s); return "" })
	run(fromPaths, func() string { return f.measurePaths(ctx) })
	_ = g.Wait() // each says in lacks what went wrong
	if f.lacks[fromSyncs] == "" && len(f.disk.syncs) == 0 {
		f.lacks[fromSyncs] = cmp.Or(f.lacks[fromDisk], f.disk.why, "it was not measured")
	}
}

// lookup is a name of the configuration and what became of it.
type lookup struct {
	key, host string
	err       error
}

// lookUp resolves the names that agents are joined through.
func lookUp(ctx context.Context, s settings) []lookup {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var all []lookup
	for key, list := range map[string][]string{"retry_join": s.RetryJoin, "retry_join_wan": s.RetryJoinWAN} {
		for _, entry := range list {
			if host := hostOf(entry); host != "" && net.ParseIP(host) == nil && len(all) < maxLookups {
				all = append(all, lookup{key: key, host: host})
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(lookupsAtOnce)
	for i := range all {
		g.Go(func() error {
			_, all[i].err = net.DefaultResolver.LookupHost(ctx, all[i].host)
			return nil
		})
	}
	_ = g.Wait() // each keeps its error
	return all
}

const (
	maxLookups    = 32
	lookupsAtOnce = 8
)

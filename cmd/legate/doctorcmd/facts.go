package doctorcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/internal/lifecycle"
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
	fromClocks
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
	clocks     []status.Clock

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
		for s := fromSelf; s <= fromClocks; s++ {
			f.lacks[s] = "no agent answers"
		}
		f.lacks[fromAgent] = "no agent answers"
		f.take(files)
	}
	f.survey(ctx, a.local || f.noAgent != "")
	if len(f.disk.syncs) == 0 {
		f.lacks[fromSyncs] = cmp.Or(f.lacks[fromSyncs], f.lacks[fromDisk], f.disk.why, "it was not measured")
	}
	return f
}

// askReady finds out whether there is an agent.
func (f *facts) askReady(ctx context.Context, a *asker) {
	got, err := a.get(ctx, "/v1/agent/ready")
	if err != nil {
		f.noAgent = err.Error()
		if asked, ok := errors.AsType[*url.Error](err); ok { // which address is said already
			f.noAgent = asked.Err.Error()
		}
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
		{fromClocks, "/v1/operator/clocks", "operator:read", &f.clocks},
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

// survey looks at the machine, if it is the agent's, and at the network. What a dead disk
// or a resolver holds up is given up.
func (f *facts) survey(ctx context.Context, here bool) {
	for _, s := range []source{fromDisk, fromProcess, fromPorts, fromNames, fromPaths, fromSyncs} {
		f.lacks[s] = cmp.Or(f.lacks[s], f.lacks[fromSettings])
	}
	if !here {
		for _, s := range []source{fromMachine, fromDisk, fromProcess, fromPorts, fromPaths, fromNames, fromSyncs} {
			f.lacks[s] = "the agent runs on another machine: run this there"
		}
	}
	if f.noAgent != "" {
		f.lacks[fromProcess] = cmp.Or(f.lacks[fromProcess], "no agent answers")
	}
	seen := f.looks()
	done := make(chan seenSource, len(seen))
	work := lifecycle.New("doctor")
	for s, look := range seen {
		if f.lacks[s] != "" {
			delete(seen, s)
			continue
		}
		f.lacks[s] = fmt.Sprintf("it is not known after %s", lookTimeout)
		if err := work.Spawn("look", func(context.Context) {
			put, why := look(ctx)
			done <- seenSource{s, why, put}
		}); err != nil {
			f.lacks[s] = err.Error()
			delete(seen, s)
		}
	}
	for range seen {
		select {
		case got := <-done:
			if f.lacks[got.source] = got.why; got.put != nil {
				got.put()
			}
		case <-ctx.Done():
			f.disk.stuck = f.disk.dir == "" && seen[fromDisk] != nil
			return
		}
	}
}

// seenSource is what was seen of a source: why nothing was, or what keeps it.
type seenSource struct {
	source source
	why    string
	put    func()
}

// looks are how each source is looked at. They may hang, so they change nothing: what they
// return does.
func (f *facts) looks() map[source]func(context.Context) (put func(), why string) {
	s, gone := f.settings, f.noAgent != ""
	unknown, paths := f.lacks[fromWAN], f.destinations()
	if !s.Server {
		unknown = f.lacks[fromMembers]
	}
	looks := map[source]func(context.Context) (func(), string){
		fromMachine: func(context.Context) (func(), string) {
			var m machine
			why := m.read(s)
			return func() { f.machine = m }, why
		},
		fromDisk: func(context.Context) (func(), string) {
			var d disk
			why := d.read(s.DataDir, gone)
			return func() { f.disk = d }, why
		},
		fromProcess: func(context.Context) (func(), string) {
			var p process
			why := p.read(s)
			return func() { f.process = p }, why
		},
		fromNames: func(ctx context.Context) (func(), string) {
			names := lookUp(ctx, s)
			return func() { f.names = names }, ""
		},
		fromPaths: func(ctx context.Context) (func(), string) {
			if unknown != "" && !gone {
				return nil, unknown
			}
			why := measurePaths(ctx, paths, s.Bind)
			return func() { f.paths = paths }, why
		},
	}
	if gone {
		looks[fromPorts] = func(context.Context) (func(), string) {
			ports := tryPorts(s.bound)
			return func() { f.ports = ports }, ""
		}
	}
	return looks
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

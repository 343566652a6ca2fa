package httpapi

import (
	"context"
	"net/http"

	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/status"
)

// SelfView is what /v1/agent/self shows.
type SelfView struct {
	Config SelfConfig
	// DebugConfig is the whole configuration, secrets blanked.
	DebugConfig map[string]any
	// Coord is the agent's LAN coordinate; nil if it has none yet.
	Coord  *coordinate.Coord `json:",omitempty"`
	Member Member
	// Stats by subsystem.
	Stats map[string]map[string]string `json:",omitempty"`
	// Meta of the node.
	Meta map[string]string
}

// SelfConfig is the part of the configuration that clients read.
type SelfConfig struct {
	Datacenter        string
	PrimaryDatacenter string
	NodeName          string
	NodeID            string
	Server            bool
	Revision          string
	Version           string
	BuildDate         string
}

// Member is a member of a gossip pool. Status is 0 none, 1 alive, 2 leaving,
// 3 left, 4 failed.
type Member struct {
	Name                                  string
	Addr                                  string
	Port                                  uint16
	Tags                                  map[string]string
	Status                                int
	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

func root(x *exchange) error {
	x.w.Header()["Content-Type"] = plainText
	x.write(http.StatusOK, []byte("Legate agent "+x.s.cfg.NodeName+" of datacenter "+x.s.cfg.Datacenter+". The API is below /v1/.\n"))
	return nil
}

func robots(x *exchange) error {
	x.w.Header()["Content-Type"] = plainText
	x.write(http.StatusOK, []byte("User-agent: *\nDisallow: /\n"))
	return nil
}

func prometheusMetrics(x *exchange) error { return x.delegate(x.s.cfg.Metrics) }

func agentMetrics(x *exchange) error { return x.delegate(x.s.cfg.AgentMetrics) }

func agentSelf(x *exchange) error { return x.json(x.s.cfg.Agent.Self()) }

func agentVersion(x *exchange) error {
	c := x.s.cfg.Agent.Self().Config
	return x.json(struct{ SHA, BuildDate, HumanVersion, FIPS string }{c.Revision, c.BuildDate, c.Version, ""})
}

func agentHost(x *exchange) error { return x.json(x.s.cfg.Agent.Host()) }

func agentMembers(x *exchange) error {
	wan, err := x.flag("wan")
	if err != nil {
		return err
	}
	sel, err := x.selection()
	if err != nil {
		return err
	}
	list, err := x.s.cfg.Agent.Members(wan)
	if err != nil {
		return err
	}
	out, err := pick(sel, list, nil, func(m *Member) { m.Tags = pairs(m.Tags) })
	if err != nil {
		return err
	}
	return x.json(out)
}

func agentJoin(x *exchange) error {
	addr, err := x.argument("Missing address to join")
	if err != nil {
		return err
	}
	wan, err := x.flag("wan")
	if err != nil {
		return err
	}
	if _, err := x.s.cfg.Agent.Join(x.ctx, []string{addr}, wan); err != nil {
		return err
	}
	x.empty(http.StatusOK)
	return nil
}

// agentLeave goes on when the client goes: half a leave is worse than none. With
// ?wan servers leave the federation only: this one, with ?all those of the datacenter.
func agentLeave(x *exchange) error {
	wan, err := x.flag("wan")
	if err != nil {
		return err
	}
	if wan {
		return agentQuit(x)
	}
	if err := x.s.cfg.Agent.Leave(context.WithoutCancel(x.ctx)); err != nil {
		return err
	}
	x.empty(http.StatusOK)
	return nil
}

// agentQuit takes ?all or a body with All.
func agentQuit(x *exchange) error {
	all, err := x.flag("all")
	req := status.QuitRequest{All: all}
	if err == nil && x.r.ContentLength > 0 {
		err = x.decode(&req)
	}
	switch {
	case err != nil:
		return err
	case !req.All && !x.s.cfg.Agent.Self().Config.Server:
		return refuse(http.StatusBadRequest, "this agent is a client and no part of the federation: ask a server, or have all of them leave (all)")
	}
	x.ctx = context.WithoutCancel(x.ctx)
	done, err := ask(x, &status.Quit, &req)
	if err != nil {
		return err
	}
	return x.json(&status.Changed{Told: done.Told, Missed: some(done.Missed)})
}

func agentForceLeave(x *exchange) error {
	node, err := x.argument("Missing node name")
	if err != nil {
		return err
	}
	prune, err := x.flag("prune")
	if err != nil {
		return err
	}
	wan, err := x.flag("wan")
	if err != nil {
		return err
	}
	if err := x.s.cfg.Agent.ForceLeave(x.ctx, node, prune, wan); err != nil {
		return err
	}
	x.empty(http.StatusOK)
	return nil
}

func agentReload(x *exchange) error {
	if err := x.s.cfg.Agent.Reload(); err != nil {
		return err
	}
	x.empty(http.StatusOK)
	return nil
}

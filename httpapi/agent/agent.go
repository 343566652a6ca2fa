package agent

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/coordinate"
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

// node is the name that rules know the member by: in the WAN pool its datacenter follows.
func (m *Member) node(wan bool) string {
	if wan {
		return strings.TrimSuffix(m.Name, "."+m.Tags["dc"])
	}
	return m.Name
}

func (a *API) metrics(x *rest.Exchange) error { return x.Delegate(a.Metrics) }

func (a *API) self(x *rest.Exchange) error { return x.JSON(a.Agent.Self()) }

func (a *API) version(x *rest.Exchange) error {
	c := a.Agent.Self().Config
	return x.JSON(struct{ SHA, BuildDate, HumanVersion, FIPS string }{c.Revision, c.BuildDate, c.Version, ""})
}

// ready is for load balancers: it takes no token and tells nothing that needs one.
func (a *API) ready(x *rest.Exchange) error {
	var limit *time.Duration
	if text := x.Get("max_stale"); text != "" || x.Has("max_stale") {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return rest.Refuse(http.StatusBadRequest, "Invalid value for ?max_stale: want a duration such as 30s")
		}
		limit = &d
	}
	s := a.Agent.Ready(x.Ctx, limit)
	if !s.Ready() {
		return x.JSONStatus(http.StatusServiceUnavailable, s)
	}
	return x.JSON(s)
}

func (a *API) host(x *rest.Exchange) error { return x.JSON(a.Agent.Host()) }

func (a *API) members(x *rest.Exchange) error {
	wan, err := x.Flag("wan")
	if err != nil {
		return err
	}
	sel, err := x.Selection()
	if err != nil {
		return err
	}
	may, err := x.Authorizer()
	if err != nil {
		return err
	}
	all, err := a.Agent.Members(wan)
	if err != nil {
		return err
	}
	list := visible(x, all, func(m *Member) bool { return may.Allow(rules.Node, rules.Read, m.node(wan)) })
	out, err := rest.Pick(sel, list, nil, func(m *Member) { m.Tags = rest.Pairs(m.Tags) })
	if err != nil {
		return err
	}
	return x.JSON(out)
}

func (a *API) join(x *rest.Exchange) error {
	addr, err := x.Argument("Missing address to join")
	if err != nil {
		return err
	}
	wan, err := x.Flag("wan")
	if err != nil {
		return err
	}
	if _, err := a.Agent.Join(x.Ctx, []string{addr}, wan); err != nil {
		return err
	}
	x.Empty(http.StatusOK)
	return nil
}

// leave goes on when the client goes: half a leave is worse than none. With
// ?wan servers leave the federation only: this one, with ?all those of the datacenter.
func (a *API) leave(x *rest.Exchange) error {
	wan, err := x.Flag("wan")
	if err != nil {
		return err
	}
	if wan {
		return a.Quit(x)
	}
	if err := a.Agent.Leave(context.WithoutCancel(x.Ctx)); err != nil {
		return err
	}
	x.Empty(http.StatusOK)
	return nil
}

func (a *API) forceLeave(x *rest.Exchange) error {
	node, err := x.Argument("Missing node name")
	if err != nil {
		return err
	}
	prune, err := x.Flag("prune")
	if err != nil {
		return err
	}
	wan, err := x.Flag("wan")
	if err != nil {
		return err
	}
	if err := a.Agent.ForceLeave(x.Ctx, node, prune, wan); err != nil {
		return err
	}
	x.Empty(http.StatusOK)
	return nil
}

func (a *API) reload(x *rest.Exchange) error {
	if err := a.Agent.Reload(); err != nil {
		return err
	}
	x.Empty(http.StatusOK)
	return nil
}

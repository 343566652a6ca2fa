package operator

import (
	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/status"
)

// countsAtOnce bounds how many datacenters are asked at a time.
const countsAtOnce = 16

// usage is what a datacenter has, in the shape of Consul.
type usage struct {
	Nodes                    int
	Services                 int
	ServiceInstances         int
	ConnectServiceInstances  map[string]int
	BillableServiceInstances int
}

// usages are those of datacenters by name. This answer says in its body, too, what
// others say in headers.
type usages struct {
	Usage map[string]usage
	rest.QueryMeta
}

// usage counts what is in the catalog, of all datacenters with ?global. If one of them
// does not answer there is no answer: a sum without it would be wrong.
func (a *API) usage(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	global, err := x.Flag("global")
	if err != nil {
		return err
	}
	datacenters := []string{h.Datacenter}
	if global {
		known, err := rest.Ask(x, a.Caller, &status.Datacenters, &op.Empty{})
		if err != nil {
			return err
		}
		datacenters = known.Texts
	}
	counts, metas := make([]catalog.Usage, len(datacenters)), make([]op.Meta, len(datacenters))
	g, ctx := errgroup.WithContext(x.Ctx)
	g.SetLimit(countsAtOnce)
	for i, dc := range datacenters {
		g.Go(func() error {
			h := h
			h.Datacenter = dc
			u, meta, err := catalog.CountUsage.Call(ctx, a.Caller, h, &op.Empty{})
			if u != nil {
				counts[i], metas[i] = *u, meta
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	out := usages{Usage: map[string]usage{}}
	for i := range counts {
		u := &counts[i]
		out.Usage[metas[i].Datacenter] = usage{u.Nodes, u.Services, u.Instances, rest.Pairs(u.Connect), u.Billable}
	}
	if len(metas) > 0 {
		x.Meta(&metas[0])
		out.QueryMeta = rest.QueryMetaOf(&metas[0])
	}
	return x.JSON(out)
}

// Package coordinate is network coordinates over HTTP. It computes no distances.
package coordinate

import (
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/coordinate"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/coordinate/datacenters", Get: a.datacenters},
		{Path: "/v1/coordinate/nodes", Get: a.nodes, Blocks: true},
		{Path: "/v1/coordinate/node/", Get: a.node, Blocks: true},
		{Path: "/v1/coordinate/update", Put: a.update},
	}
}

// datacenters is about the whole federation: it is answered by a
// server nearby.
func (a *API) datacenters(x *rest.Exchange) error {
	list, err := rest.Ask(x, a.Caller, &coordinate.Datacenters, &op.Empty{})
	if err != nil {
		return err
	}
	out := make([]coordinate.DatacenterMap, 0, len(*list))
	for _, m := range *list {
		m.Coordinates = rest.Some(m.Coordinates)
		out = append(out, m)
	}
	return x.JSON(out)
}

func (a *API) nodes(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	list, meta, err := coordinate.Nodes.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.Meta(&meta)
	return x.JSON(rest.Some(rest.OrEmpty(list)))
}

func (a *API) node(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	name, err := x.Argument("Missing node name")
	if err != nil {
		return err
	}
	list, meta, err := coordinate.Node.Call(x.Ctx, a.Caller, h, &coordinate.NodeRequest{Node: name})
	if err != nil {
		return err
	}
	x.Meta(&meta)
	if len(rest.OrEmpty(list)) == 0 {
		x.Empty(http.StatusNotFound)
		return nil
	}
	return x.JSON(*list)
}

func (a *API) update(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	body := struct {
		Datacenter string
		coordinate.Entry
	}{}
	if err := x.Decode(&body); err != nil {
		return err
	}
	if body.Node == "" {
		return rest.Refuse(http.StatusBadRequest, "Missing node name")
	}
	x.Target(&h, body.Datacenter)
	_, meta, err := coordinate.Update.Call(x.Ctx, a.Caller, h, &body.Entry)
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	x.Empty(http.StatusOK)
	return nil
}

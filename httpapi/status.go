package httpapi

import (
	"net/http"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/status"
)

// ask calls what a server answers from what it holds itself, and sets the headers
// of the answer. A missing result is the zero one.
func ask[Req, Res any](x *exchange, o *op.Direct[Req, Res], req *Req) (*Res, error) {
	h, err := x.current()
	if err != nil {
		return nil, err
	}
	res, meta, err := o.Call(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return nil, err
	}
	x.datacenter(&meta)
	if res == nil {
		res = new(Res)
	}
	return res, nil
}

func statusLeader(x *exchange) error {
	leader, err := ask(x, &status.Leader, &op.Empty{})
	if err != nil {
		return err
	}
	return x.json(leader.Text)
}

func statusPeers(x *exchange) error {
	peers, err := ask(x, &status.Peers, &op.Empty{})
	if err != nil {
		return err
	}
	return x.json(some(peers.Texts))
}

func operatorRaft(x *exchange) error {
	conf, err := ask(x, &status.Raft, &op.Empty{})
	if err != nil {
		return err
	}
	return x.json(&status.RaftConfiguration{Servers: some(conf.Servers), Index: conf.Index})
}

// federationStatus shows how the federation is seen, and what the probes of the server
// that answers show: with ?local by that server alone, else by each datacenter.
func federationStatus(x *exchange) error {
	local, err := x.flag("local")
	if err != nil {
		return err
	}
	views, err := ask(x, &status.Federation, &status.FederationRequest{Each: !local, Probes: true})
	if err != nil {
		return err
	}
	return x.json(some(views.Views))
}

// federationDatacenters lists the datacenters with their states, the server's own
// first.
func federationDatacenters(x *exchange) error {
	views, err := ask(x, &status.Federation, &status.FederationRequest{})
	if err != nil {
		return err
	}
	list := []status.Named{}
	for _, v := range views.Views {
		list = append(list, status.Named{Datacenter: v.Datacenter, State: status.Up})
		for _, l := range v.Links {
			if l.Datacenter == v.Datacenter { // by the others
				list[0].State, list[0].Reason = l.State, l.Reason
				continue
			}
			list = append(list, status.Named{Datacenter: l.Datacenter, State: l.State, Reason: l.Reason})
		}
	}
	return x.json(list)
}

func federationChange(x *exchange) error {
	req := status.Membership{Removed: true}
	var err error
	if x.r.Method == http.MethodDelete {
		req.Force, err = x.flag("force")
	} else {
		err = x.decode(&req)
	}
	if err != nil {
		return err
	}
	if req.Datacenter, err = x.argument("Missing datacenter"); err != nil {
		return err
	}
	done, err := ask(x, &status.Change, &req)
	if err != nil {
		return err
	}
	done.Missed = some(done.Missed)
	return x.json(done)
}

// coordinateDatacenters is about the whole federation: it is answered by a
// server nearby.
func coordinateDatacenters(x *exchange) error {
	list, err := ask(x, &coordinate.Datacenters, &op.Empty{})
	if err != nil {
		return err
	}
	out := make([]coordinate.DatacenterMap, 0, len(*list))
	for _, m := range *list {
		m.Coordinates = some(m.Coordinates)
		out = append(out, m)
	}
	return x.json(out)
}

func coordinateNodes(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	list, meta, err := coordinate.Nodes.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.meta(&meta)
	return x.json(some(orEmpty(list)))
}

func coordinateNode(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	name, err := x.argument("Missing node name")
	if err != nil {
		return err
	}
	list, meta, err := coordinate.Node.Call(x.ctx, x.s.cfg.Caller, h, &coordinate.NodeRequest{Node: name})
	if err != nil {
		return err
	}
	x.meta(&meta)
	if len(orEmpty(list)) == 0 {
		x.empty(http.StatusNotFound)
		return nil
	}
	return x.json(*list)
}

func coordinateUpdate(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	body := struct {
		Datacenter string
		coordinate.Entry
	}{}
	if err := x.decode(&body); err != nil {
		return err
	}
	if body.Node == "" {
		return refuse(http.StatusBadRequest, "Missing node name")
	}
	x.target(&h, body.Datacenter)
	_, meta, err := coordinate.Update.Call(x.ctx, x.s.cfg.Caller, h, &body.Entry)
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	x.empty(http.StatusOK)
	return nil
}

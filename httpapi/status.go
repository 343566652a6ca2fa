package httpapi

import (
	"net/http"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/status"
)

func statusLeader(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	leader, meta, err := status.Leader.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	if leader == nil {
		return x.json("")
	}
	return x.json(leader.Text)
}

func statusPeers(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	peers, meta, err := status.Peers.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	if peers == nil {
		return x.json([]string{})
	}
	return x.json(some(peers.Texts))
}

func operatorRaft(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	conf, meta, err := status.Raft.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	if conf == nil {
		conf = &status.RaftConfiguration{}
	}
	return x.json(&status.RaftConfiguration{Servers: some(conf.Servers), Index: conf.Index})
}

// coordinateDatacenters is about the whole federation: it is answered by a
// server nearby.
func coordinateDatacenters(x *exchange) error {
	h, err := x.current()
	if err != nil {
		return err
	}
	list, meta, err := coordinate.Datacenters.Call(x.ctx, x.s.cfg.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.datacenter(&meta)
	out := make([]coordinate.DatacenterMap, 0, len(orEmpty(list)))
	for _, m := range orEmpty(list) {
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

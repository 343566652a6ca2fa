package httpapi

import (
	"bytes"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/httpapi/resttest"
)

// TestClientLibraryOfConsul reads our answers with the library that most users
// have.
func TestClientLibraryOfConsul(t *testing.T) {
	w := start(t)
	url, _ := serving(t, w)
	c := resttest.Client(t, url)
	pair, meta, err := c.KV().Get("b/x", nil)
	if err != nil || !bytes.Equal(pair.Value, []byte("<two>")) || pair.Flags != 42 || pair.Session != "s" || meta.LastIndex != 7 || !meta.KnownLeader {
		t.Errorf("KV get: %+v, %+v, %v", pair, meta, err)
	}
	if pair, _, err := c.KV().Get("none", nil); pair != nil || err != nil {
		t.Errorf("KV get of nothing: %v, %v", pair, err)
	}
	if pairs, _, err := c.KV().List("", nil); err != nil || len(pairs) != 2 {
		t.Errorf("KV list: %v, %v", pairs, err)
	}
	if keys, _, err := c.KV().Keys("", "/", nil); err != nil || len(keys) != 2 {
		t.Errorf("KV keys: %v, %v", keys, err)
	}
	if ok, _, err := c.KV().CAS(&api.KVPair{Key: "a", ModifyIndex: 99}, nil); ok || err != nil {
		t.Errorf("KV CAS: %t, %v", ok, err)
	}
	if _, err := c.KV().Put(&api.KVPair{Key: "a", Value: []byte("v"), Flags: 3}, nil); err != nil {
		t.Errorf("KV put: %v", err)
	}
	if _, err := c.KV().DeleteTree("x", nil); err != nil {
		t.Errorf("KV delete: %v", err)
	}
	if list, _, err := c.Health().Service("web", "", true, nil); err != nil || len(list) != 1 || list[0].Service.Port != 80 || list[0].Checks[0].CheckID != "serfHealth" {
		t.Errorf("health: %+v, %v", list, err)
	}
	if list, _, err := c.Catalog().Nodes(&api.QueryOptions{Filter: `Meta.rack == "r1"`}); err != nil || len(list) != 1 {
		t.Errorf("nodes: %+v, %v", list, err)
	}
	if n, _, err := c.Catalog().Node("none", nil); n != nil || err != nil {
		t.Errorf("node: %+v, %v", n, err)
	}
	if n, _, err := c.Catalog().Node("n1", nil); err != nil || n.Services["web"].Port != 80 {
		t.Errorf("node: %+v, %v", n, err)
	}
	if dcs, err := c.Catalog().Datacenters(); err != nil || len(dcs) != 2 {
		t.Errorf("datacenters: %v, %v", dcs, err)
	}
	_, err = c.Catalog().Register(&api.CatalogRegistration{Node: "n", Address: "10.0.0.1",
		Service: &api.AgentService{Service: "db", Port: 1}, Check: &api.AgentCheck{Name: "c", Status: "passing"}}, nil)
	if err != nil {
		t.Errorf("register: %v", err)
	}
	if raft, err := c.Operator().RaftGetConfiguration(nil); err != nil || len(raft.Servers) != 1 || !raft.Servers[0].Leader {
		t.Errorf("raft: %+v, %v", raft, err)
	}
	if dcs, err := c.Coordinate().Datacenters(); err != nil || len(dcs) != 1 || dcs[0].AreaID != "wan" {
		t.Errorf("coordinates: %+v, %v", dcs, err)
	}
}

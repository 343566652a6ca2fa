package state

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/txn"
	"github.com/legate-project/legate/storage"
)

var rewrite = flag.Bool("rewrite", false, "write the golden encodings anew")

// samples holds one filled-in request for each command, by operation name.
func samples() map[string]msgp.Marshaler {
	return map[string]msgp.Marshaler{
		"kv.apply": &kv.ApplyRequest{Verb: kv.CAS, Entry: kv.Entry{LockIndex: 1, Key: "a/b", Flags: 2, Value: []byte("v"), Session: "s", CreateIndex: 3, ModifyIndex: 4}},
		"catalog.register": &catalog.RegisterRequest{ID: "i", Node: "n", Address: "1.2.3.4", Datacenter: "dc1",
			TaggedAddresses: map[string]string{"lan": "1.2.3.4"}, NodeMeta: map[string]string{"k": "v"}, SkipNodeUpdate: true,
			Service: &catalog.Service{ID: "web-1", Service: "web", Tags: []string{"t"}, Address: "5.6.7.8", Port: 80, Meta: map[string]string{"m": "x"},
				TaggedAddresses: map[string]catalog.ServiceAddress{"lan": {Address: "5.6.7.8", Port: 80}}, Weights: catalog.Weights{Passing: 1, Warning: 2}},
			Checks: []catalog.Check{{Node: "n", CheckID: "c", Name: "c", Status: catalog.Passing, Output: "o", ServiceID: "web-1",
				Definition: catalog.CheckDefinition{HTTP: "http://x", Interval: 10}}}},
		"catalog.deregister": &catalog.DeregisterRequest{Node: "n", ServiceID: "web-1", CheckID: "c", Datacenter: "dc1"},
		"coordinate.batch":   &coordinate.Entries{{Node: "n", Coord: coordinate.Coord{Vec: []float64{1, 2}, Error: 0.5, Adjustment: 0.1, Height: 0.2}}},
		"state.collect":      &CollectRequest{UpTo: 7},
		"session.create": &session.CreateRequest{Session: session.Session{ID: "i", Name: "s", Node: "n", LockDelay: 1, Behavior: session.Delete, TTL: "10s",
			NodeChecks: []string{"c"}, ServiceChecks: []session.ServiceCheck{{ID: "c-web", Namespace: "ns"}}, CreateIndex: 2, ModifyIndex: 3}},
		"session.bind": &session.CreateRequest{Session: session.Session{ID: "i", Name: "s", Node: "n", NodeDatacenter: "dc1", LockDelay: 1, Behavior: session.Release,
			NodeChecks: []string{"c"}, CreateIndex: 2, ModifyIndex: 3}},
		"session.destroy": &session.DestroyRequest{ID: "i", Clock: 4},
		"session.expire":  &session.ExpireRequest{Sessions: []session.Expiry{{ID: "i", CreateIndex: 2}}, Clock: 5},
		"kv.pass":         &kv.PassRequest{Clock: 6},
		"txn.apply": &txn.Request{Clock: 7, Ops: []txn.Op{
			{KV: &txn.KVOp{Verb: kv.CAS, Key: "k", Value: []byte("v"), Flags: 1, Index: 2, Session: "s"}},
			{Node: &txn.NodeOp{Verb: txn.Set, Node: catalog.Node{ID: "i", Node: "n", Address: "a"}}},
			{Service: &txn.ServiceOp{Verb: txn.Delete, Node: "n", Service: catalog.Service{ID: "w", Service: "web"}}},
			{Check: &txn.CheckOp{Verb: txn.DeleteCAS, Check: catalog.Check{Node: "n", CheckID: "c", ModifyIndex: 3}}}}},
		"query.create": &query.SetRequest{Query: sampleQuery("")},
		"query.update": &query.SetRequest{Query: sampleQuery("i")},
		"query.delete": &query.IDRequest{ID: "i"},

		"acl.token-set":      sampleToken(),
		"acl.mint":           sampleToken(),
		"acl.token-delete":   &acl.AccessorRequest{Accessor: "a"},
		"acl.logout":         &acl.SecretRequest{Secret: "s"},
		"acl.expire":         &acl.ExpireRequest{Accessors: []string{"a"}, Now: time.UnixMilli(5).UTC()},
		"acl.policy-set":     &acl.SetPolicyRequest{Policy: samplePolicy(), Create: true},
		"acl.policy-delete":  &acl.NamedRequest{ID: "i", Name: "n"},
		"acl.role-set":       &acl.SetRoleRequest{Role: acl.Role{ID: "i", Name: "n", Description: "d", Grants: sampleGrants(), Hash: []byte("h"), CreateIndex: 1, ModifyIndex: 2}, Create: true},
		"acl.role-delete":    &acl.NamedRequest{ID: "i"},
		"acl.method-set":     &acl.SetMethodRequest{Method: acl.Method{Name: "n", Type: "jwt", DisplayName: "dn", Description: "d", MaxTokenTTL: 3, TokenLocality: acl.LocalityGlobal, TokenNameFormat: "f", Config: []byte("{}"), CreateIndex: 1, ModifyIndex: 2}, Create: true},
		"acl.method-delete":  &acl.NamedRequest{Name: "n"},
		"acl.binding-set":    &acl.SetBindingRequest{Binding: acl.Binding{ID: "i", Description: "d", AuthMethod: "m", Selector: "s", BindType: acl.BindTemplate, BindName: "b", BindVars: &acl.Variables{Name: "v"}, CreateIndex: 1, ModifyIndex: 2}, Create: true},
		"acl.binding-delete": &acl.NamedRequest{ID: "i"},
		"acl.bootstrap":      &acl.BootstrapRequest{Token: sampleToken().Token, Reset: 4},
		"acl.begin":          &acl.BeginRequest{Tokens: acl.Tokens{sampleToken().Token}, Policies: acl.Policies{samplePolicy()}},
		"acl.copy": &acl.CopyRequest{Version: 1, Index: 2, Begun: true, Deletes: []acl.Name{{Kind: acl.KindToken, Key: "k"}},
			Records: acl.Records{Policies: acl.Policies{samplePolicy()}, Tokens: acl.Tokens{sampleToken().Token}}},
		"acl.home-step": &acl.StepRequest{Step: acl.StepYield, Version: 1, Datacenter: "dc2", By: "s", Ticket: "t"},

		"autopilot.configure": &autopilot.SetRequest{CAS: true, Config: autopilot.Config{CleanupDeadServers: true, LastContactThreshold: 1, MaxTrailingLogs: 2, MinQuorum: 3,
			ServerStabilizationTime: 4, RedundancyZoneTag: "z", DisableUpgradeMigration: true, UpgradeVersionTag: "v", CreateIndex: 5, ModifyIndex: 6}},

		"replication.set":    &replication.SetRequest{Rule: replication.Rule{Datacenter: "dc2", Prefix: "p", Target: "t", Mode: replication.Mirror, Paused: true, CreateIndex: 1, ModifyIndex: 2}},
		"replication.change": &replication.ChangeRequest{Target: "t", Change: replication.Pause},
		"kv.copy": &kv.CopyRequest{Target: "t", Rule: 1, Index: 2, Items: []replication.Item{{Key: "k", Flags: 3, Value: []byte("v"), Origin: "dc2", OriginIndex: 4},
			{Key: "l", Gone: true, Time: 5}, {Key: "m", Own: true}}, Here: "dc1"},
		"kv.settle":       &op.Empty{},
		"kv.forget":       &kv.ForgetRequest{Before: 1},
		"failover.set":    &failover.Rule{Service: "web", Datacenters: []string{"dc2", "nearest"}, CreateIndex: 1, ModifyIndex: 2},
		"failover.delete": &failover.ServiceRequest{Service: "web"},

		"state.restore-begin":  &RestoreBeginRequest{ID: "i"},
		"state.restore-rows":   &RestoreRowsRequest{ID: "i", Part: 3, Rows: AppendRow(nil, []byte("k"), []byte("v"))},
		"state.restore-finish": &RestoreFinishRequest{ID: "i", Rows: 4, Index: 5},
		"state.restore-abort":  &RestoreBeginRequest{ID: "i"},
	}
}

func sampleGrants() acl.Grants {
	return acl.Grants{Policies: []acl.Link{{ID: "i", Name: "n"}}, ServiceIdentities: []acl.ServiceIdentity{{ServiceName: "web", Datacenters: []string{"dc1"}}},
		NodeIdentities:    []acl.NodeIdentity{{NodeName: "n", Datacenter: "dc1"}},
		TemplatedPolicies: []acl.TemplatedPolicy{{TemplateName: "builtin/service", TemplateVariables: &acl.Variables{Name: "web"}, Datacenters: []string{"dc1"}}}}
}

func samplePolicy() acl.Policy {
	return acl.Policy{ID: "i", Name: "n", Description: "d", Rules: "r", Datacenters: []string{"dc1"}, Hash: []byte("h"), CreateIndex: 1, ModifyIndex: 2,
		Parsed: rules.Policy{Rules: []rules.Rule{{Resource: rules.Key, Prefix: true, Name: "k", Access: rules.Read}}}}
}

func sampleToken() *acl.SetTokenRequest {
	return &acl.SetTokenRequest{Create: true, TTL: 6, From: "f", Token: acl.Token{AccessorID: "a", SecretID: "s", Name: "n", Description: "d", Grants: sampleGrants(),
		Roles: []acl.Link{{ID: "r", Name: "rn"}}, Local: true, AuthMethod: "m", ExpirationTime: time.UnixMilli(7).UTC(), CreateTime: time.UnixMilli(6).UTC(),
		Hash: []byte("h"), CreateIndex: 1, ModifyIndex: 2}}
}

func sampleQuery(id string) query.Query {
	return query.Query{ID: id, Name: "q", Session: "s", Token: "t", DNS: query.DNS{TTL: "3s"}, CreateIndex: 1, ModifyIndex: 2,
		Template: query.Template{Type: query.NamePrefixMatch, Regexp: "x", RemoveEmptyTags: true},
		Service: query.Service{Service: "web", OnlyPassing: true, IgnoreCheckIDs: []string{"c"}, Near: query.NearAgent, Tags: []string{"!t"},
			NodeMeta: map[string]string{"k": "v"}, ServiceMeta: map[string]string{"m": "x"}, Connect: true, Peer: "p",
			Failover: query.Failover{NearestN: 2, Datacenters: []string{"dc2"}, Targets: []query.Target{{Peer: "p", Datacenter: "dc3"}}}}}
}

// What is in logs and snapshots must stay readable: a change here is a change
// of the format. Run with -rewrite only for a new command.
func TestEncodingsDoNotChange(t *testing.T) {
	m := New()
	var out strings.Builder
	rows := commands()
	sort.Slice(rows, func(i, j int) bool { return rows[i].number < rows[j].number })
	for _, r := range rows {
		sample := samples()[r.operation.OpName()]
		if sample == nil {
			t.Fatalf("no sample of %s", r.operation.OpName())
		}
		body, err := sample.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.EncodeUpTo(func() uint16 { return r.level }, r.operation, body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%d %s %s\n", r.number, r.operation.OpName(), hex.EncodeToString(b))
	}
	file := filepath.Join("testdata", "commands.golden")
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("encodings differ from %s:\n%s", file, out.String())
	}
}

// A level that was released stands for the same commands for ever.
func TestCommandsHaveTheLevelThatTheyCameWith(t *testing.T) {
	m := New()
	for number, r := range m.byNumber {
		want := uint16(2)
		switch {
		case number >= 11 && number <= 13: // a snapshot may hold anything
			want = version.Level
		case number <= 17:
			want = 1
		}
		if r.level != want {
			t.Errorf("command %d, %s, has level %d, want %d", number, r.operation.OpName(), r.level, want)
		}
		if got, err := m.Level([]byte{byte(number >> 8), byte(number)}); err != nil || got != want {
			t.Errorf("command %d: %d, %v", number, got, err)
		}
	}
	if _, err := m.Level([]byte{0xff, 0xff, 0}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a command of tomorrow: %v", err)
	}
}

func TestUnknownCommandCrashes(t *testing.T) {
	s, _ := open(t)
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	defer func() {
		if recover() == nil {
			t.Error("an unknown command was applied")
		}
	}()
	New().Apply(tx, []byte{0xff, 0xff, 0})
}

// A disk that fails is not a bug: the server is to stop in order and say why.
func TestClosedTablesAreAnErrorNotAPanic(t *testing.T) {
	s, _ := open(t)
	m := New()
	body, err := (&kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}}).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Encode(&kv.Apply, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	if _, err := m.Apply(tx, b); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("error %v, want that the tables are closed", err)
	}
}

// applier prepares a command as a leader would and applies it.
type applier func(o op.Operation, req msgp.Marshaler) (any, error)

func open(t *testing.T) (*storage.State, applier) {
	t.Helper()
	s, apply, _ := openLed(t)
	return s, apply
}

// openLed also returns the leader, whose clock the test moves. The IDs that it
// makes are id-1, id-2, …
func openLed(t *testing.T) (*storage.State, applier, *op.Leader) {
	t.Helper()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	apply, l := lead(t, func() *storage.State { return s }, version.Level, func([]byte) {})
	return s, apply, l
}

// lead is a leader of a group whose servers know a feature level.
func lead(t *testing.T, current func() *storage.State, level uint16, applied func(command []byte)) (applier, *op.Leader) {
	ids := 0
	l := &op.Leader{NewID: func() string { ids++; return fmt.Sprintf("id-%d", ids) }}
	m := New()
	return func(o op.Operation, req msgp.Marshaler) (any, error) {
		t.Helper()
		if p, ok := o.(op.Preparable); ok {
			if err := p.Ready(*l, req); err != nil {
				return nil, err
			}
		}
		body, err := req.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Encode(o, body)
		if err != nil {
			t.Fatal(err)
		}
		applied(b)
		tx := current().Begin()
		tx.Reach(level)
		defer tx.Discard()
		tx.Next()
		res, err := m.Apply(tx, b)
		if err != nil {
			tx.Rollback()
		}
		if cerr := tx.Commit(); cerr != nil {
			t.Fatal(cerr)
		}
		return res, err
	}, l
}

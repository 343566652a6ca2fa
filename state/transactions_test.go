package state

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/txn"
)

func key(verb, k string, more ...func(*txn.KVOp)) txn.Op {
	o := &txn.KVOp{Verb: verb, Key: k, Value: []byte("new")}
	for _, f := range more {
		f(o)
	}
	return txn.Op{KV: o}
}

func at(index uint64) func(*txn.KVOp) { return func(o *txn.KVOp) { o.Index = index } }
func by(id string) func(*txn.KVOp)    { return func(o *txn.KVOp) { o.Session = id } }

func nodeOp(verb string, n catalog.Node) txn.Op {
	return txn.Op{Node: &txn.NodeOp{Verb: verb, Node: n}}
}
func serviceOp(verb, node string, s catalog.Service) txn.Op {
	return txn.Op{Service: &txn.ServiceOp{Verb: verb, Node: node, Service: s}}
}
func checkOp(verb string, c catalog.Check) txn.Op {
	return txn.Op{Check: &txn.CheckOp{Verb: verb, Check: c}}
}

func (s *scene) txn(ops ...txn.Op) *txn.Result {
	s.t.Helper()
	return s.must(&txn.Apply, &txn.Request{Ops: ops}).(*txn.Result)
}

// TestTransactionVerbs: one row is an operation on a datacenter with n1, w1 and
// c-w1 from index 1, the session id-1 from 2, and the keys "k" from 3, unlocked,
// and "l" from 4, locked by id-1. Ahead of it stands a write that must be there
// afterwards exactly if the operation succeeds.
func TestTransactionVerbs(t *testing.T) {
	for name, c := range map[string]struct {
		op     txn.Op
		failed string // part of the error; "" for success
		shows  string // of the item; "" for no item
	}{
		"set":                       {key(kv.Set, "k"), "", "k"},
		"cas":                       {key(kv.CAS, "k", at(3)), "", "k"},
		"cas stale":                 {key(kv.CAS, "k", at(2)), `failed to set key "k", index is stale`, ""},
		"cas 0 new":                 {key(kv.CAS, "x"), "", "x"},
		"cas 0 there":               {key(kv.CAS, "k"), "index is stale", ""},
		"lock":                      {key(kv.Lock, "k", by("id-1")), "", "k"},
		"lock of nobody":            {key(kv.Lock, "k", by("none")), `invalid session "none"`, ""},
		"lock held":                 {key(kv.Lock, "l", by("id-2")), `failed to lock key "l"`, ""},
		"unlock":                    {key(kv.Unlock, "l", by("id-1")), "", "l"},
		"unlock not held":           {key(kv.Unlock, "k", by("id-1")), `failed to unlock key "k"`, ""},
		"get":                       {key(txn.Get, "k"), "", "k=old"},
		"get none":                  {key(txn.Get, "x"), `key "x" doesn't exist`, ""},
		"get-or-empty":              {key(txn.GetOrEmpty, "x"), "", "x"},
		"get-or-empty there":        {key(txn.GetOrEmpty, "k"), "", "k=old"},
		"get-tree":                  {key(txn.GetTree, "k"), "", "k=old"},
		"get-tree none":             {key(txn.GetTree, "x"), "", ""},
		"check-index":               {key(txn.CheckIndex, "k", at(3)), "", "k"},
		"check-index stale":         {key(txn.CheckIndex, "k", at(2)), "current modify index 3 != 2", ""},
		"check-session":             {key(txn.CheckSession, "l", by("id-1")), "", "l"},
		"check-session other":       {key(txn.CheckSession, "k", by("id-1")), `current session "" != "id-1"`, ""},
		"check-not-exists":          {key(txn.CheckNotExists, "x"), "", ""},
		"check-not-exists there":    {key(txn.CheckNotExists, "k"), `key "k" exists`, ""},
		"delete":                    {key(kv.Delete, "k"), "", ""},
		"delete none":               {key(kv.Delete, "x"), "", ""},
		"delete-tree":               {key(kv.DeleteTree, "k"), "", ""},
		"delete-cas":                {key(kv.DeleteCAS, "k", at(3)), "", ""},
		"delete-cas stale":          {key(kv.DeleteCAS, "k", at(2)), `failed to delete key "k", index is stale`, ""},
		"node get":                  {nodeOp(txn.Get, catalog.Node{Node: "n1"}), "", "node n1"},
		"node get none":             {nodeOp(txn.Get, catalog.Node{Node: "n2"}), `node "n2" doesn't exist`, ""},
		"node set":                  {nodeOp(txn.Set, catalog.Node{Node: "n2", Address: "10.0.0.2"}), "", "node n2"},
		"node cas":                  {nodeOp(txn.CAS, catalog.Node{Node: "n1", Address: "10.0.0.9", ModifyIndex: 1}), "", "node n1"},
		"node cas stale":            {nodeOp(txn.CAS, catalog.Node{Node: "n1", Address: "10.0.0.9", ModifyIndex: 9}), `failed to set node "n1", index is stale`, ""},
		"node delete":               {nodeOp(txn.Delete, catalog.Node{Node: "n1"}), "", ""},
		"node delete-cas":           {nodeOp(txn.DeleteCAS, catalog.Node{Node: "n1", ModifyIndex: 1}), "", ""},
		"node delete-cas stale":     {nodeOp(txn.DeleteCAS, catalog.Node{Node: "n1", ModifyIndex: 9}), `failed to delete node "n1"`, ""},
		"service get":               {serviceOp(txn.Get, "n1", catalog.Service{ID: "w1"}), "", "service w1"},
		"service get none":          {serviceOp(txn.Get, "n1", catalog.Service{ID: "w2"}), `service "w2" on node "n1" doesn't exist`, ""},
		"service set":               {serviceOp(txn.Set, "n1", catalog.Service{Service: "db"}), "", "service db"},
		"service set without node":  {serviceOp(txn.Set, "n7", catalog.Service{Service: "db"}), "Missing node registration", ""},
		"service cas":               {serviceOp(txn.CAS, "n1", catalog.Service{ID: "w1", Service: "web", Port: 1, ModifyIndex: 1}), "", "service w1"},
		"service cas stale":         {serviceOp(txn.CAS, "n1", catalog.Service{ID: "w1", Service: "web", ModifyIndex: 9}), "index is stale", ""},
		"service delete":            {serviceOp(txn.Delete, "n1", catalog.Service{ID: "w1"}), "", ""},
		"service delete-cas":        {serviceOp(txn.DeleteCAS, "n1", catalog.Service{ID: "w1", ModifyIndex: 1}), "", ""},
		"service delete-cas stale":  {serviceOp(txn.DeleteCAS, "n1", catalog.Service{ID: "w1", ModifyIndex: 9}), "index is stale", ""},
		"check get":                 {checkOp(txn.Get, catalog.Check{Node: "n1", CheckID: "c-w1"}), "", "check c-w1 passing"},
		"check get none":            {checkOp(txn.Get, catalog.Check{Node: "n1", CheckID: "x"}), "doesn't exist", ""},
		"check set":                 {checkOp(txn.Set, catalog.Check{Node: "n1", Name: "x", Status: catalog.Warning}), "", "check x warning"},
		"check of no service":       {checkOp(txn.Set, catalog.Check{Node: "n1", Name: "x", ServiceID: "none"}), "Missing service registration", ""},
		"check cas":                 {checkOp(txn.CAS, catalog.Check{Node: "n1", CheckID: "c-w1", Status: catalog.Warning, ServiceID: "w1", ModifyIndex: 1}), "", "check c-w1 warning"},
		"check cas stale":           {checkOp(txn.CAS, catalog.Check{Node: "n1", CheckID: "c-w1", Status: catalog.Warning, ModifyIndex: 9}), "index is stale", ""},
		"check delete":              {checkOp(txn.Delete, catalog.Check{Node: "n1", CheckID: "c-w1"}), "", ""},
		"check delete-cas":          {checkOp(txn.DeleteCAS, catalog.Check{Node: "n1", CheckID: "c-w1", ModifyIndex: 1}), "", ""},
		"check delete-cas stale":    {checkOp(txn.DeleteCAS, catalog.Check{Node: "n1", CheckID: "c-w1", ModifyIndex: 9}), "index is stale", ""},
		"lock after check-session":  {key(txn.CheckSession, "k"), "", "k"},
		"delete-cas of what is not": {key(kv.DeleteCAS, "x", at(9)), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.session("")
			s.must(&kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k", Value: []byte("old")}})
			s.kv(kv.Lock, "l", "id-1")
			s.session("")
			res := s.txn(key(kv.Set, "witness"), c.op)
			if written := s.entry("witness") != nil; written != (c.failed == "") {
				t.Errorf("what stands beside it was written: %v", written)
			}
			if c.failed != "" {
				if len(res.Errors) != 1 || res.Errors[0].OpIndex != 1 || !strings.Contains(res.Errors[0].What, c.failed) || res.Results != nil {
					t.Errorf("got %+v, want an error of operation 1 with %q", res, c.failed)
				}
				return
			}
			shows := ""
			for _, it := range res.Results[1:] {
				shows += describe(&it)
			}
			if len(res.Errors) > 0 || shows != c.shows {
				t.Errorf("got %+v, showing %q, want %q", res, shows, c.shows)
			}
		})
	}
}

func describe(it *txn.Item) string {
	switch {
	case it.KV != nil && it.KV.Value != nil:
		return it.KV.Key + "=" + string(it.KV.Value)
	case it.KV != nil:
		return it.KV.Key
	case it.Node != nil:
		return "node " + it.Node.Node
	case it.Service != nil:
		return "service " + it.Service.ID
	case it.Check != nil:
		return "check " + it.Check.CheckID + " " + it.Check.Status
	}
	return "nothing"
}

// What fails takes back what the transaction did in all domains, and every
// failing operation is named.
func TestTransactionIsAllOrNothing(t *testing.T) {
	s := newScene(t)
	id := s.session(session.Release)
	s.kv(kv.Lock, "k", id)
	res := s.txn(
		checkOp(txn.Set, catalog.Check{Node: "n1", CheckID: catalog.SerfHealth, Status: catalog.Critical}), // would end the session
		key(txn.Get, "none"),
		key(kv.DeleteTree, ""),
		key(kv.CAS, "k", at(1)),
	)
	if len(res.Errors) != 2 || res.Errors[0].OpIndex != 1 || res.Errors[1].OpIndex != 3 {
		t.Errorf("errors %+v", res.Errors)
	}
	if e := s.entry("k"); !s.lives(id) || e == nil || e.Session != id {
		t.Errorf("session lives: %v, key: %+v", s.lives(id), e)
	}
}

// Cascades are part of the command: the operation after the one that makes a
// check critical finds the lock gone, and the key delayed.
func TestTransactionCascades(t *testing.T) {
	s := newScene(t)
	id := s.session(session.Release)
	s.kv(kv.Lock, "k", id)
	res := s.txn(
		checkOp(txn.Set, catalog.Check{Node: "n1", CheckID: "c-w1", ServiceID: "w1", Status: catalog.Critical}),
		key(txn.CheckSession, "k"),
	)
	if len(res.Errors) > 0 || s.lives(id) {
		t.Errorf("%+v, session lives: %v", res, s.lives(id))
	}
	other := s.must(&session.Create, &session.CreateRequest{Session: session.Session{Node: "n1"}}).(*session.CreateResult).ID
	if res := s.txn(key(kv.Lock, "k", by(other))); len(res.Errors) != 1 {
		t.Error("a key whose session was ended by a transaction can be locked at once")
	}
}

func TestTransactionOfTooManyOperations(t *testing.T) {
	s := newScene(t)
	if _, err := s.apply(&txn.Apply, &txn.Request{Ops: make([]txn.Op, txn.MaxOps+1)}); op.CodeOf(err) != op.CodeTooLarge {
		t.Errorf("error %v, want code %v", err, op.CodeTooLarge)
	}
}

// A node that is left out of its registration may be new: then nothing is known
// of it but its name. In a transaction it must be there.
func TestServiceOfANodeThatIsNew(t *testing.T) {
	s := newScene(t)
	s.must(&catalog.Register, &catalog.RegisterRequest{Node: "new", SkipNodeUpdate: true, Service: &catalog.Service{Service: "web"}})
	on, _ := read(t, s.state, &catalog.ListServiceNodes, &catalog.ServiceRequest{Service: "web"})
	if !slices.ContainsFunc(*on, func(i catalog.ServiceNode) bool { return i.Node == "new" && i.Address == "" }) {
		t.Errorf("instances: %+v", *on)
	}
	if res := s.txn(serviceOp(txn.Set, "newer", catalog.Service{ID: "w", Service: "web"})); len(res.Errors) != 1 || !strings.Contains(res.Errors[0].What, "Missing node registration") {
		t.Errorf("in a transaction: %+v", res)
	}
	if _, err := s.apply(&catalog.Register, &catalog.RegisterRequest{Node: "newest"}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("a node without address: %v", err)
	}
}

// What is wrong in itself is told as what fails by what is stored: an entry for
// each operation, and nothing is done.
func TestTransactionTellsEachWrongOperation(t *testing.T) {
	s := newScene(t)
	for name, c := range map[string]struct {
		op   txn.Op
		what string
	}{
		"empty":          {txn.Op{}, "must be one of"},
		"two in one":     {txn.Op{KV: key(kv.Set, "k").KV, Node: nodeOp(txn.Get, catalog.Node{}).Node}, "must be one of"},
		"two reads":      {txn.Op{KV: key(txn.Get, "k").KV, Node: nodeOp(txn.Get, catalog.Node{}).Node}, "must be one of"},
		"no verb":        {key("improve", "k"), "improve"},
		"no verb either": {nodeOp("improve", catalog.Node{Node: "n1"}), "unknown verb"},
		"no key":         {key(kv.Set, ""), "key"},
		"no session":     {key(kv.Lock, "k"), "missing session"},
		"no node":        {nodeOp(txn.Set, catalog.Node{Address: "10.0.0.1"}), "Must provide node"},
		"no ID":          {serviceOp(txn.Delete, "n1", catalog.Service{}), "ID"},
		"missing key":    {key(txn.CheckIndex, "nothing", func(o *txn.KVOp) { o.Index = 1 }), "doesn't exist"},
	} {
		res := s.txn(key(kv.Set, "done"), c.op, key(txn.Get, "nowhere"))
		if len(res.Results) != 0 || len(res.Errors) != 2 || res.Errors[0].OpIndex != 1 || res.Errors[1].OpIndex != 2 || !strings.Contains(res.Errors[0].What, c.what) {
			t.Errorf("%s: %+v, want %q of operation 1 and an error of operation 2", name, res, c.what)
		}
	}
	if e := s.entry("done"); e != nil {
		t.Errorf("a transaction that failed wrote %+v", e)
	}
	both := &txn.Request{Ops: []txn.Op{{KV: key(txn.Get, "k").KV, Node: nodeOp(txn.Get, catalog.Node{}).Node}}}
	if !both.ReadOnly() {
		t.Fatal("two reads in one operation write")
	}
	if res, _ := read(t, s.state, &txn.Read, both); len(res.Errors) != 1 {
		t.Errorf("two reads in one operation: %+v", res)
	}
}

func TestTransactionNamesTheKindOfAChecksDefinition(t *testing.T) {
	s := newScene(t)
	for want, c := range map[string]catalog.Check{
		"tcp":  {Definition: catalog.CheckDefinition{TCP: "10.0.0.1:80", Interval: 1}},
		"mine": {Type: "mine", Definition: catalog.CheckDefinition{TCP: "10.0.0.1:80"}},
		"":     {},
	} {
		c.Node, c.CheckID = "n1", "c"
		if res := s.txn(checkOp(txn.Set, c)); len(res.Errors) != 0 || res.Results[0].Check.Type != want {
			t.Errorf("want kind %q, got %+v", want, res)
		}
	}
}

func TestTransactionTellsWhatIsWrongInFewWords(t *testing.T) {
	s := newScene(t)
	long := strings.Repeat("ü", 100_000)
	req := &txn.Request{Ops: []txn.Op{key(kv.Set, "done"), key(long, "k"), serviceOp(txn.Get, long, catalog.Service{ID: "x"})}}
	if err := txn.Apply.Ready(op.Leader{}, req); err != nil || len(req.Ops[1].Refused) > 2000 {
		t.Errorf("%d bytes of why the leader refuses are in the log, error %v", len(req.Ops[1].Refused), err)
	}
	res := s.txn(req.Ops...)
	if len(res.Errors) != 2 {
		t.Fatalf("%+v", res)
	}
	for _, e := range res.Errors {
		if len(e.What) > 2000 || !strings.Contains(e.What, "ü") || !utf8.ValidString(e.What) {
			t.Errorf("%d bytes say what is wrong: %.40q", len(e.What), e.What)
		}
	}
}

// Who claims that the leader has refused an operation, or has not, is not heard.
func TestTransactionRefusalIsTheLeaders(t *testing.T) {
	s := newScene(t)
	claimed := key(kv.Set, "k")
	claimed.Refused = "because I say so"
	if res := s.txn(claimed); len(res.Errors) != 0 || s.entry("k") == nil {
		t.Errorf("%+v", res)
	}
}

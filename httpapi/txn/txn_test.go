package txn

import (
	"slices"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/txn"
)

// datacenter fails what is not about the key "a".
func datacenter() *resttest.Caller {
	carryOut := resttest.Answer(func(r *txn.Request) (any, error) {
		res := &txn.Result{}
		for i, o := range r.Ops {
			if o.KV == nil || o.KV.Key != "a" {
				res.Errors = append(res.Errors, txn.Error{OpIndex: i, What: "no"})
				continue
			}
			e := kv.Entry{Key: "a", Value: []byte("one"), CreateIndex: 3, ModifyIndex: 4}
			if o.KV.Verb != txn.Get {
				e.Value = []byte{}
			}
			res.Results = append(res.Results, txn.Item{KV: &e})
		}
		return res, nil
	})
	return &resttest.Caller{Answers: map[string]any{txn.Read.Name: carryOut, txn.Apply.Name: carryOut}}
}

func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c, MaxValueSize: 8192, MaxTxnSize: 512 << 10}).Routes())
}

// One row is one request with its answer.
func TestRequestsOfTransactionsAreAnswered(t *testing.T) {
	resttest.CheckEach(t, func(t testing.TB) *resttest.Server { return serve(t, datacenter()) }, []resttest.Case{
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"get","Key":"a"}}]`, 200, `{"Results":[{"KV":` + resttest.EntryA + `}],"Errors":null,` + resttest.MetaJSON},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a","Value":"b25l"}}]`, 200, `~"Value":null`},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a"}},{"KV":{"Verb":"set","Key":"x"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":1,"What":"no"}]}`},
		{"PUT", "/v1/txn", `[]`, 200, `{"Results":[],"Errors":null,` + resttest.MetaJSON},
		{"PUT", "/v1/txn", `{`, 400, "~Request decode failed: "},
		{"PUT", "/v1/txn", "[" + strings.Repeat(`{"KV":{"Verb":"get","Key":"a"}},`, 128) + `{"KV":{"Verb":"get","Key":"a"}}]`, 413, "Transaction contains too many operations (129 > 128)"},
		{"GET", "/v1/txn", "", 405, "method GET not allowed"},
	})
}

// A transaction that only reads is asked as a read, with its consistency; one
// that writes is not.
func TestTransactionsThatOnlyRead(t *testing.T) {
	caller := datacenter()
	s := serve(t, caller)
	rec := s.Do("PUT", "/v1/txn?stale", `[{"KV":{"Verb":"get","Key":"a"}},{"KV":{"Verb":"check-index","Key":"a"}}]`)
	if !slices.Equal(caller.Asked(), []string{txn.Read.Name}) || caller.Header().Consistency != op.Stale || rec.Header().Get("X-Consul-Index") != "7" {
		t.Errorf("asked %v %+v, answered with index %q", caller.Asked(), caller.Header(), rec.Header().Get("X-Consul-Index"))
	}
	caller.Forget()
	rec = s.Do("PUT", "/v1/txn", `[{"KV":{"Verb":"get","Key":"a"}},{"KV":{"Verb":"set","Key":"a"}}]`)
	if !slices.Equal(caller.Asked(), []string{txn.Apply.Name}) || rec.Header().Get("X-Consul-Index") != "" {
		t.Errorf("asked %v, answered with index %q", caller.Asked(), rec.Header().Get("X-Consul-Index"))
	}
}

// A body of a transaction may be as long as limits.txn_max_req_len, a value in
// it as long as limits.kv_max_value_size.
func TestTransactionSizes(t *testing.T) {
	s := resttest.Serve(t, (&API{Caller: datacenter(), MaxTxnSize: 1 << 20, MaxValueSize: 1 << 10}).Routes())
	for _, c := range []struct {
		value, status int
		want          string
	}{
		{1 << 10, 200, ""},
		{1<<10 + 3, 413, "Value for key \"a\" is too large"},
		{1 << 20, 413, "limits.txn_max_req_len"},
	} {
		value := strings.Repeat("AAAA", (c.value+2)/3)[:(c.value+2)/3*4]
		if c.value%3 == 1 {
			value = value[:len(value)-2] + "=="
		}
		rec := s.Do("PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a","Value":"`+value+`"}}]`)
		if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
			t.Errorf("%d bytes: %d %s", c.value, rec.Code, rec.Body)
		}
	}
}

// In transactions, tags and metadata of none are null.
func TestRecordsOfTransactions(t *testing.T) {
	none := map[string]string{}
	w := serve(t, &resttest.Caller{Answers: map[string]any{"txn.read": &txn.Result{Results: []txn.Item{
		{Node: &catalog.Node{Node: "n1", Meta: none}}, {Service: &catalog.Service{ID: "w", Tags: []string{}, Meta: none}}, {Check: &catalog.Check{CheckID: "c", ServiceTags: []string{}}}}}}})
	got := w.Do("PUT", "/v1/txn", `[{"Node":{"Verb":"get","Node":{"Node":"n1"}}}]`).Body.String()
	for _, want := range []string{`"Node":"n1","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null`, `"Tags":null,"Address":"","Meta":null`, `"ServiceTags":null`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

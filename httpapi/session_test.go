package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/txn"
)

// TestSessionAndTxnRequests: one row is one request with its answer. A body that
// begins with ~ is one that the answer contains.
func TestSessionAndTxnRequests(t *testing.T) {
	const shown = `{"ID":"s1","Name":"n","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"10s","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":3,"ModifyIndex":3}`
	for _, c := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"PUT", "/v1/session/create", "", 200, `{"ID":"s2"}`},
		{"PUT", "/v1/session/create", "{}", 200, `{"ID":"s2"}`},
		{"PUT", "/v1/session/create", `{"Node":"n7"}`, 500, "~Missing node registration"},
		{"PUT", "/v1/session/create", `{"TTL":"1s"}`, 500, "Invalid Session TTL '1s', must be between [10s=24h0m0s]"},
		{"PUT", "/v1/session/create", `{"Behavior":"x"}`, 500, "Invalid Behavior setting 'x'"},
		{"PUT", "/v1/session/create", `{"LockDelay":"x"}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{"LockDelay":true}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{"LockDelay":1e300}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{"LockDelay":-1}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{`, 400, "~Request decode failed: "},
		{"PUT", "/v1/session/create?dc=dc2", "", 500, "Remote DC has no server currently reachable"},
		{"PUT", "/v1/session/destroy/s1", "", 200, "true"},
		{"PUT", "/v1/session/destroy/", "", 400, "Missing session"},
		{"PUT", "/v1/session/renew/s1", "", 200, "[" + shown + "]"},
		{"PUT", "/v1/session/renew/none", "", 404, "Session id 'none' not found"},
		{"PUT", "/v1/session/renew/", "", 400, "Missing session"},
		{"GET", "/v1/session/info/s1", "", 200, "[" + shown + "]"},
		{"GET", "/v1/session/info/none", "", 200, "[]"},
		{"GET", "/v1/session/info/", "", 400, "Missing session"},
		{"GET", "/v1/session/node/n1", "", 200, `~[{"ID":"s1","Name":"","Node":"n1",`},
		{"GET", "/v1/session/node/n1", "", 200, `~"NodeChecks":[],`},
		{"GET", "/v1/session/node/", "", 400, "Missing node name"},
		{"GET", "/v1/session/list", "", 200, "~["},
		{"GET", "/v1/session/create", "", 405, "method GET not allowed"},

		{"PUT", "/v1/txn", `[{"KV":{"Verb":"get","Key":"a"}}]`, 200, `{"Results":[{"KV":` + entryA + `}],"Errors":null,` + metaJSON},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a","Value":"b25l"}}]`, 200, `~"Value":null`},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a"}},{"KV":{"Verb":"set","Key":"x"}}]`, 409, `{"Results":null,"Errors":[{"OpIndex":1,"What":"no"}]}`},
		{"PUT", "/v1/txn", `[]`, 200, `{"Results":[],"Errors":null,` + metaJSON},
		{"PUT", "/v1/txn", `{`, 400, "~Request decode failed: "},
		{"PUT", "/v1/txn", "[" + strings.Repeat(`{"KV":{"Verb":"get","Key":"a"}},`, 128) + `{"KV":{"Verb":"get","Key":"a"}}]`, 413, "Transaction contains too many operations (129 > 128)"},
		{"GET", "/v1/txn", "", 405, "method GET not allowed"},
	} {
		t.Run(c.method+" "+strings.ReplaceAll(c.target, "/", "|"), func(t *testing.T) {
			rec := start(t).do(c.method, c.target, c.body)
			got := rec.Body.String()
			part, isPart := strings.CutPrefix(c.want, "~")
			if rec.Code != c.status || (isPart && !strings.Contains(got, part)) || (!isPart && got != c.want) {
				t.Errorf("%s %s: %d %s\nwant %d %s", c.method, c.target, rec.Code, got, c.status, c.want)
			}
		})
	}
}

// What a client leaves out, and how it may write what it does not.
func TestSessionBodies(t *testing.T) {
	serf := "[serfHealth]"
	for body, want := range map[string]string{
		``:                             "n1 15s " + serf,
		`{"Node":"n1"}`:                "n1 15s " + serf,
		`{"LockDelay":"5s"}`:           "n1 5s " + serf,
		`{"LockDelay":"5000ms"}`:       "n1 5s " + serf,
		`{"LockDelay":5}`:              "n1 5s " + serf,
		`{"LockDelay":1000000000}`:     "n1 1s " + serf,
		`{"LockDelay":0}`:              "n1 0s " + serf,
		`{"LockDelay":"100s"}`:         "n1 1m40s " + serf,
		`{"LockDelay":999}`:            "n1 16m39s " + serf,
		`{"LockDelay":86400000000001}`: "n1 24h0m0.000000001s " + serf,
		`{"LockDelay":null}`:           "n1 15s " + serf,
		`{"NodeChecks":[]}`:            "n1 15s []",
		`{"NodeChecks":["a"]}`:         "n1 15s [a]",
		`{"Checks":["b"]}`:             "n1 15s [b]",
		`{"Checks":[]}`:                "n1 15s []",
		`{"ServiceChecks":null}`:       "n1 15s " + serf,
		`{"locKdelay":"7s","x":"y"}`:   "n1 7s " + serf,
	} {
		s := start(t)
		if rec := s.do("PUT", "/v1/session/create", body); rec.Code != 200 {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
			continue
		}
		got := s.fake.request.(*session.CreateRequest).Session
		if text := fmt.Sprint(got.Node, " ", got.LockDelay, " ", got.NodeChecks); text != want {
			t.Errorf("%s: made %q, want %q", body, text, want)
		}
	}
}

// A transaction that only reads is asked as a read, with its consistency; one
// that writes is not.
func TestTransactionsThatOnlyRead(t *testing.T) {
	s := start(t)
	rec := s.do("PUT", "/v1/txn?stale", `[{"KV":{"Verb":"get","Key":"a"}},{"KV":{"Verb":"check-index","Key":"a"}}]`)
	if s.fake.operation != txn.Read.Name || s.fake.header.Consistency != op.Stale || rec.Header().Get("X-Consul-Index") != "7" {
		t.Errorf("asked %s %+v, answered with index %q", s.fake.operation, s.fake.header, rec.Header().Get("X-Consul-Index"))
	}
	rec = s.do("PUT", "/v1/txn", `[{"KV":{"Verb":"get","Key":"a"}},{"KV":{"Verb":"set","Key":"a"}}]`)
	if s.fake.operation != txn.Apply.Name || rec.Header().Get("X-Consul-Index") != "" {
		t.Errorf("asked %s, answered with index %q", s.fake.operation, rec.Header().Get("X-Consul-Index"))
	}
}

// A body of a transaction may be as long as limits.txn_max_req_len, a value in
// it as long as limits.kv_max_value_size.
func TestTransactionSizes(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxTxnSize, c.MaxValueSize = 1<<20, 1<<10 })
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
		rec := s.do("PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a","Value":"`+value+`"}}]`)
		if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
			t.Errorf("%d bytes: %d %s", c.value, rec.Code, rec.Body)
		}
	}
}

package kv

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// serve answers as an agent whose datacenter is the Caller.
func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c, MaxValueSize: 8192}).Routes())
}

// serveKeys answers from keys that every test may know.
func serveKeys(t testing.TB) *resttest.Server {
	return serve(t, &resttest.Caller{Answers: resttest.Keys(), Only: "dc1"})
}

// One row is one request with its answer.
func TestRequestsOfKeysAreAnswered(t *testing.T) {
	resttest.CheckEach(t, serveKeys, []resttest.Case{
		{"GET", "/v1/kv/a", "", 200, "[" + resttest.EntryA + "]"},
		{"GET", "/v1/kv/a?raw", "", 200, "one"},
		{"GET", "/v1/kv/a?pretty", "", 200, "[\n    {\n        \"LockIndex\": 0,\n        \"Key\": \"a\",\n        \"Flags\": 0,\n        \"Value\": \"b25l\",\n        \"CreateIndex\": 3,\n        \"ModifyIndex\": 4\n    }\n]\n"},
		{"GET", "/v1/kv/b/x", "", 200, `[{"LockIndex":1,"Key":"b/x","Flags":42,"Value":"PHR3bz4=","Session":"s","CreateIndex":5,"ModifyIndex":6}]`},
		{"GET", "/v1/kv/b%2Fx?raw", "", 200, "<two>"},
		{"GET", "/v1/kv/empty", "", 200, `~"Value":null`},
		{"GET", "/v1/kv/none", "", 404, ""},
		{"GET", "/v1/kv/", "", 400, "Missing key name"},
		{"GET", "/v1/kv/?recurse", "", 200, `~[` + resttest.EntryA + `,{"LockIndex":1,`},
		{"GET", "/v1/kv/none?recurse", "", 404, ""},
		{"GET", "/v1/kv/?keys", "", 200, `["a","b/x"]`},
		{"GET", "/v1/kv/none?keys", "", 404, ""},
		{"GET", "/v1/kv?recurse", "", 301, ""},
		{"PUT", "/v1/kv/a", "v", 200, "true"},
		{"PUT", "/v1/kv/a?cas=99", "v", 200, "false"},
		{"PUT", "/v1/kv/a?cas=x", "v", 400, "~?cas"},
		{"PUT", "/v1/kv/a?flags=x", "v", 400, "~?flags"},
		{"PUT", "/v1/kv/a?cas=1&acquire=s", "v", 400, "~Conflicting flags: "},
		{"PUT", "/v1/kv/a?acquire=", "v", 400, "Missing session"},
		{"PUT", "/v1/kv/", "v", 400, "Missing key name"},
		{"PUT", "/v1/kv/a", strings.Repeat("v", 8192), 200, "true"},
		{"PUT", "/v1/kv/a", strings.Repeat("v", 8193), 413, "~Request body(8193 bytes) too large, max size: 8192 bytes. See "},
		{"DELETE", "/v1/kv/a", "", 200, "true"},
		{"DELETE", "/v1/kv/a?cas=99", "", 200, "false"},
		{"DELETE", "/v1/kv/a?cas=1&recurse", "", 400, "~Conflicting flags: "},
		{"DELETE", "/v1/kv/a?cas=x", "", 400, "~?cas"},
		{"DELETE", "/v1/kv/", "", 400, "Missing key name"},
		{"DELETE", "/v1/kv/?recurse", "", 200, "true"},
	})
}

// One row is a write with what is asked of the datacenter.
func TestWritesReachTheOperation(t *testing.T) {
	for _, c := range []struct {
		method, target, body string
		want                 kv.ApplyRequest
	}{
		{"PUT", "/v1/kv/dir/k?flags=9&cas=4", "value", kv.ApplyRequest{Verb: kv.CAS, Entry: kv.Entry{Key: "dir/k", Flags: 9, Value: []byte("value"), ModifyIndex: 4}}},
		{"DELETE", "/v1/kv/dir/?recurse", "", kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: "dir/"}}},
	} {
		checkWrite(t, c.method, c.target, c.body, c.want)
	}
}

// checkWrite checks what a request that succeeds asks of the datacenter.
func checkWrite(t *testing.T, method, target, body string, want kv.ApplyRequest) {
	t.Helper()
	caller := &resttest.Caller{Answers: resttest.Keys()}
	rec := serve(t, caller).Do(method, target, body)
	got := resttest.Requested[kv.ApplyRequest](t, caller)
	if rec.Code != 200 || rec.Body.String() != "true" || !reflect.DeepEqual(got, want) {
		t.Errorf("%s %s: %d %s, asks %+v, want %+v", method, target, rec.Code, rec.Body, got, want)
	}
}

// The documentation of Consul promises that a delete with ?cas=0 does nothing:
// it is no error.
func TestDeleteWithIndexZeroAsksForNothingElse(t *testing.T) {
	checkWrite(t, "DELETE", "/v1/kv/a?cas=0", "", kv.ApplyRequest{Verb: kv.DeleteCAS, Entry: kv.Entry{Key: "a"}})
}

func TestLocksOverHTTP(t *testing.T) {
	checkWrite(t, "PUT", "/v1/kv/k?acquire=s1&flags=7", "v", kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "k", Flags: 7, Session: "s1", Value: []byte("v")}})
	checkWrite(t, "PUT", "/v1/kv/k?release=s1", "v", kv.ApplyRequest{Verb: kv.Unlock, Entry: kv.Entry{Key: "k", Session: "s1", Value: []byte("v")}})
}

// A long list is sent as it is rendered: the memory that it takes beside its
// entries does not grow with it.
func TestLongListsAreSentInParts(t *testing.T) {
	want, err := json.Marshal(resttest.ManyEntries())
	if err != nil {
		t.Fatal(err)
	}
	url := serveKeys(t).Listen(t)
	for _, target := range []string{"/v1/kv/many/?recurse", "/v1/kv/many/?recurse&pretty"} {
		resp, err := http.Get(url + target) // accepts gzip and undoes it
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("%s: read the answer: %v", target, err)
		}
		if strings.Contains(target, "pretty") {
			var b bytes.Buffer
			if err := json.Compact(&b, got); err != nil {
				t.Fatal(err)
			}
			got = b.Bytes()
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, which are not the %d expected", target, len(got), len(want))
		}
		if resp.Header.Get("X-Consul-Index") != "7" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", target, resp.Header)
		}
	}
}

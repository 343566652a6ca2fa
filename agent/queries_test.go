package agent

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// What a prepared query says comes back whole, also what has no effect here.
func TestPreparedQueriesComeBackWhole(t *testing.T) {
	o := run(t, loopback(82), t.TempDir(), "")
	const text = `{"Name":"whole","Session":"","Token":"","Template":{"Type":"name_prefix_match","Regexp":"x","RemoveEmptyTags":true},
		"Service":{"Service":"web","SamenessGroup":"group","IncludeAll":true,"Near":"_agent","OnlyPassing":true,"IgnoreCheckIDs":["c"],"Tags":["a","!b"],
			"NodeMeta":{"k":"v"},"ServiceMeta":{"m":"w"},"Connect":true,"Peer":"",
			"Failover":{"NearestN":2,"Datacenters":["dc2"],"Targets":null,"SkipLocalDatacenter":true}},"DNS":{"TTL":"3s"}}`
	var want map[string]any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	send := func(method, path, body string, into any) {
		t.Helper()
		req, err := http.NewRequest(method, o.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s %s %v", method, path, res.Status, b, err)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	var made struct{ ID string }
	send("POST", "/v1/query", text, &made)
	check := func() {
		t.Helper()
		var got []map[string]any
		send("GET", "/v1/query/"+made.ID, "", &got)
		for _, own := range []string{"ID", "CreateIndex", "ModifyIndex"} {
			delete(got[0], own)
		}
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("it came back as\n%v, want\n%v", got[0], want)
		}
	}
	check()
	send("PUT", "/v1/query/"+made.ID, text, nil)
	check()
}

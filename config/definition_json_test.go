package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDefinitionsFromClients(t *testing.T) {
	want := &ServiceDefinition{ID: "w1", Name: "web", Tags: []string{"a"}, Port: 80, EnableTagOverride: true,
		Meta: map[string]string{"Mixed_Case": "v"}, Weights: &ServiceWeights{Passing: 3, Warning: 1},
		TaggedAddresses: map[string]ServiceAddress{"lan": {"10.0.0.1", 8080}},
		Checks: []CheckDefinition{{ID: "c", TTL: 10 * time.Second, H2PingUseTLS: true, DeregisterCriticalServiceAfter: time.Minute},
			{HTTP: "http://x/", Interval: 5 * time.Second, H2PingUseTLS: true, Header: map[string][]string{"X-A": {"1"}}}}}
	for name, body := range map[string]string{
		"CamelCase": `{"ID":"w1","Name":"web","Tags":["a"],"Port":80,"EnableTagOverride":true,"Meta":{"Mixed_Case":"v"},"Weights":{"Passing":3},
			"TaggedAddresses":{"lan":{"Address":"10.0.0.1","Port":8080}},"Proxy":null,"Unknown":{"x":[1]},
			"Check":{"CheckID":"c","TTL":"10s","Timeout":"","DeregisterCriticalServiceAfter":"1m"},
			"Checks":[{"HTTP":"http://x/","Interval":5000000000,"Header":{"X-A":["1"]},"ServiceName":"ignored"}]}`,
		"snake_case": `{"id":"w1","name":"web","tags":["a"],"port":80,"enable_tag_override":true,"meta":{"Mixed_Case":"v"},"weights":{"passing":3},
			"tagged_addresses":{"lan":{"address":"10.0.0.1","port":8080}},
			"checks":[{"check_id":"c","ttl":"10s","deregister_critical_service_after":"1m"},{"http":"http://x/","interval":"5s","header":{"X-A":["1"]}}]}`,
	} {
		got, err := ServiceFromJSON([]byte(body))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
		}
	}
	check, err := CheckFromJSON([]byte(`{"Name":"x","ScriptArgs":["a","b"],"Interval":"1s","ServiceID":"w1"}`))
	if want := (&CheckDefinition{Name: "x", Args: []string{"a", "b"}, Interval: time.Second, ServiceID: "w1", H2PingUseTLS: true}); err != nil || !reflect.DeepEqual(check, want) {
		t.Errorf("check: %v\n got %+v\nwant %+v", err, check, want)
	}
}

func TestACheckThatSaysNothingIsNone(t *testing.T) {
	for body, want := range map[string]int{
		`{"Name":"web","Check":{}}`:                         0,
		`{"Name":"web","check":{"TTL":"","Script":null}}`:   0,
		`{"Name":"web","Check":{},"Checks":[{"TTL":"1s"}]}`: 1,
		`{"Name":"web","Check":{"Name":"x"}}`:               1,
		`{"Name":"web","Checks":[{}]}`:                      1,
	} {
		def, err := ServiceFromJSON([]byte(body))
		if err != nil || len(def.Checks) != want {
			t.Errorf("%s: %d checks, %v, want %d", body, len(def.Checks), err, want)
		}
	}
}

func TestFaultsOfDefinitionsNameTheKey(t *testing.T) {
	for body, want := range map[string]string{
		``:                                 "EOF",
		`[]`:                               "cannot unmarshal array",
		`{"Name":"x"} {}`:                  "more text follows",
		`{"Name":1}`:                       "name: want a string",
		`{"Port":"80"}`:                    "port: want a whole number",
		`{"Port":1.5}`:                     "port: want a whole number",
		`{"Tags":["a",1]}`:                 "tags[1]: want a string",
		`{"Checks":[{},{"Interval":"x"}]}`: "checks[1].interval: invalid duration \"x\"",
		`{"Checks":[{"TTL":true}]}`:        "checks[0].ttl: invalid duration",
		`{"Meta":{"k":1}}`:                 "meta.k: want a string",
		`{"Meta":"x"}`:                     "meta: want a block",
		strings.Repeat(`{"Checks":`, 300):  "nested deeper",
	} {
		if _, err := ServiceFromJSON([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", body, err, want)
		}
	}
}

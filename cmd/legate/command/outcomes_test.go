package command

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// Errors that all have the text of old say which one they are.
func TestErrorsSayWhatIsWrongWithADatacenter(t *testing.T) {
	for reason, want := range map[string]string{
		"unknown-datacenter":     "No path to datacenter: no datacenter dc2 is known here",
		"unreachable-datacenter": "No path to datacenter: none of the servers of dc2 can be reached",
		"left-datacenter":        "No path to datacenter: dc2 has left the federation",
		"removed-datacenter":     "No path to datacenter: dc2 was removed from the federation",
		"no-leader":              "No path to datacenter: dc2 can be reached, but has no leader",
		"internal":               "No path to datacenter",
		"":                       "No path to datacenter",
	} {
		agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Legate-Datacenter", "dc2")
			w.Header().Set("X-Legate-Reason", reason)
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("No path to datacenter"))
		}))
		config := api.DefaultConfig()
		config.Address, config.Datacenter = agent.Listener.Addr().String(), "dc2"
		if err := listenToOutcomes(config, func(text string) { t.Errorf("told %q", text) }); err != nil {
			t.Fatal(err)
		}
		client, err := api.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = client.Catalog().Services(nil)
		if err == nil || !strings.Contains(err.Error(), want) || want == "No path to datacenter" && strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: %v", reason, err)
		}
		agent.Close()
	}
}

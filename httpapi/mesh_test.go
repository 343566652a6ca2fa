package httpapi

import (
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/txn"
)

// In transactions, tags and metadata of none are null.
func TestRecordsOfTransactions(t *testing.T) {
	none := map[string]string{}
	w := start(t, func(cfg *Config) {
		cfg.Caller = &resttest.Caller{Answers: map[string]any{"txn.read": &txn.Result{Results: []txn.Item{
			{Node: &catalog.Node{Node: "n1", Meta: none}}, {Service: &catalog.Service{ID: "w", Tags: []string{}, Meta: none}}, {Check: &catalog.Check{CheckID: "c", ServiceTags: []string{}}}}}}}
	})
	got := w.do("PUT", "/v1/txn", `[{"Node":{"Verb":"get","Node":{"Node":"n1"}}}]`).Body.String()
	for _, want := range []string{`"Node":"n1","Address":"","Datacenter":"","TaggedAddresses":null,"Meta":null`, `"Tags":null,"Address":"","Meta":null`, `"ServiceTags":null`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

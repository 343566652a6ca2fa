package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
)

// A command that the servers could not decode or store would end all of them,
// again at every start: it is refused before it is replicated.
func TestCommandThatCannotBeAppliedIsRefused(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	long := strings.Repeat("x", 1<<17)
	service := func(change func(*catalog.RegisterRequest)) *catalog.RegisterRequest {
		r := &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9", Service: &catalog.Service{ID: "web", Service: "web"}}
		change(r)
		return r
	}
	for name, r := range map[string]*catalog.RegisterRequest{
		"too many tags": service(func(r *catalog.RegisterRequest) { r.Service.Tags = make([]string, 2000) }),
		"too many checks": service(func(r *catalog.RegisterRequest) {
			for i := range 5000 {
				r.Checks = append(r.Checks, catalog.Check{CheckID: fmt.Sprint(i)})
			}
		}),
		"node name too long":  service(func(r *catalog.RegisterRequest) { r.Node = long }),
		"service ID too long": service(func(r *catalog.RegisterRequest) { r.Service.ID = long }),
		"check ID too long":   service(func(r *catalog.RegisterRequest) { r.Checks = []catalog.Check{{CheckID: long}} }),
	} {
		if _, _, err := catalog.Register.Call(t.Context(), h, op.Header{}, r); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%s: error %.200v, want a refusal", name, err)
		}
	}
	for name, e := range map[string]kv.Entry{
		"key too long":    {Key: long},
		"value too large": {Key: "k", Value: make([]byte, 5<<20)},
	} {
		_, _, err := kv.Apply.Call(t.Context(), h, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: e})
		if op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%s: error %.200v, want a refusal", name, err)
		}
	}
	if _, _, err := kv.Apply.Call(t.Context(), h, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}}); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

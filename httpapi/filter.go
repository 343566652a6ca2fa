package httpapi

import (
	"net/http"
	"strings"

	"github.com/hashicorp/go-bexpr"
)

// Bounds on filter expressions: parsing and evaluating costs time.
const (
	maxFilterLength = 4096
	maxFilterTerms  = 512
)

// filter is a parsed ?filter; nil lets everything pass.
type filter struct{ eval *bexpr.Evaluator }

func (x *exchange) filter() (*filter, error) {
	text := x.get("filter")
	if text == "" {
		return nil, nil
	}
	if len(text) > maxFilterLength {
		return nil, refuse(http.StatusBadRequest, "Invalid filter: it is longer than 4096 bytes")
	}
	e, err := bexpr.CreateEvaluator(text, bexpr.WithMaxExpressions(maxFilterTerms), bexpr.WithTagName("bexpr"))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Failed to create boolean expression evaluator: "+err.Error())
	}
	return &filter{e}, nil
}

// pass reports whether the record satisfies the filter.
func (f *filter) pass(record any) (bool, error) {
	if f == nil {
		return true, nil
	}
	ok, err := f.eval.Evaluate(record)
	if err != nil {
		return false, refuse(http.StatusBadRequest, "Failed to evaluate filter: "+err.Error())
	}
	return ok, nil
}

// selection is what ?filter and ?node-meta ask for.
type selection struct {
	filter *filter
	meta   map[string]string
}

func (x *exchange) selection() (*selection, error) {
	sel := &selection{}
	if len(x.params) == 0 {
		return sel, nil
	}
	var err error
	if sel.filter, err = x.filter(); err != nil {
		return nil, err
	}
	for _, pair := range x.all("node-meta") {
		key, value, ok := strings.Cut(pair, ":")
		if !ok || key == "" {
			return nil, refuse(http.StatusBadRequest, "Invalid node-meta: want key:value")
		}
		if sel.meta == nil {
			sel.meta = map[string]string{}
		}
		sel.meta[key] = value
	}
	return sel, nil
}

// pick returns what passes, made ready for clients by fix on copies: results
// may be shared with others. It never returns nil.
func pick[T any](sel *selection, list []T, meta func(*T) map[string]string, fix func(*T)) ([]T, error) {
	out := make([]T, 0, len(list))
	for i := range list {
		if len(sel.meta) > 0 && meta != nil && !contains(meta(&list[i]), sel.meta) {
			continue
		}
		item := list[i]
		fix(&item)
		ok, err := sel.filter.pass(&item)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, item)
		}
	}
	return out, nil
}

func contains(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

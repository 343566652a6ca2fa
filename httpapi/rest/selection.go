package rest

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/legate-project/legate/internal/filter"
)

// Selection is what ?filter and ?node-meta ask for.
type Selection struct {
	filter *filter.Filter
	meta   map[string]string
}

// Selection reads what is asked for of records of any kind.
func (x *Exchange) Selection() (*Selection, error) { return x.choose(filter.Parse) }

// SelectionOf is Selection for lists of records like the sample: see
// filter.ParseFor.
func (x *Exchange) SelectionOf(sample any) (*Selection, error) {
	return x.choose(func(text string) (*filter.Filter, error) { return filter.ParseFor(text, sample) })
}

// Partial says that the answer is a part of the result that it comes from: who
// waits is answered when that part is another one.
func (x *Exchange) Partial() { x.selects = true }

// errSame is returned by a handler whose answer the client has already: there is
// time left to wait for another one.
var errSame = errors.New("the client has this answer")

// same notes what is to be answered and reports whether it is no news to the client.
func (x *Exchange) same(b []byte) bool {
	question := x.Token() + "\x00" + x.R.URL.Path
	for _, p := range x.params {
		if p.key != "index" && p.key != "wait" {
			question += "\x00" + p.key + "\x00" + p.value
		}
	}
	return x.wait.Unchanged(x.api.answers, question, x.index, b)
}

// TakePairs hands ?node-meta over to the operation, in order: what is asked in
// another order is the same.
func (s *Selection) TakePairs() []string {
	var pairs []string
	for k, v := range s.meta {
		pairs = append(pairs, k+":"+v)
	}
	slices.Sort(pairs)
	s.meta = nil
	return pairs
}

func (x *Exchange) choose(parse func(string) (*filter.Filter, error)) (*Selection, error) {
	sel := &Selection{}
	if len(x.params) == 0 {
		return sel, nil
	}
	x.selects = x.Get("filter") != ""
	var err error
	if sel.filter, err = parse(x.Get("filter")); err != nil {
		return nil, Refuse(http.StatusBadRequest, err.Error())
	}
	for _, pair := range x.All("node-meta") {
		key, value, ok := strings.Cut(pair, ":")
		if !ok || key == "" {
			return nil, Refuse(http.StatusBadRequest, "Invalid node-meta: want key:value")
		}
		if sel.meta == nil {
			sel.meta = map[string]string{}
		}
		sel.meta[key] = value
	}
	return sel, nil
}

// Pass reports whether the record satisfies the filter.
func (s *Selection) Pass(record any) (bool, error) {
	ok, err := s.filter.Pass(record)
	if err != nil {
		return false, Refuse(http.StatusBadRequest, err.Error())
	}
	return ok, nil
}

// Pick returns what passes, made ready for clients by fix on copies: results
// may be shared with others. It never returns nil.
func Pick[T any](sel *Selection, list []T, meta func(*T) map[string]string, fix func(*T)) ([]T, error) {
	out := make([]T, 0, len(list))
	for i := range list {
		if len(sel.meta) > 0 && meta != nil && !contains(meta(&list[i]), sel.meta) {
			continue
		}
		item := list[i]
		fix(&item)
		ok, err := sel.Pass(&item)
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

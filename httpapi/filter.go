package httpapi

import (
	"errors"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-bexpr"
	"github.com/hashicorp/go-bexpr/grammar"
)

// Bounds on filter expressions: the parser backtracks, and brackets make it
// do so without end. A comparison takes some 600 steps of it.
const (
	maxFilterLength = 4096
	maxFilterSteps  = 1 << 17
)

// filter is a parsed ?filter; nil lets everything pass.
type filter struct {
	eval *bexpr.Evaluator
	// lenient takes what a selector does not find in a record as the empty
	// string: for expressions that are known to fit. Nil if that is not known.
	lenient *bexpr.Evaluator
}

func (x *exchange) filter() (*filter, error) {
	text := x.get("filter")
	if text == "" {
		return nil, nil
	}
	if len(text) > maxFilterLength {
		return nil, refuse(http.StatusBadRequest, "Invalid filter: it is longer than 4096 bytes")
	}
	e, err := bexpr.CreateEvaluator(text, bexpr.WithMaxExpressions(maxFilterSteps), bexpr.WithTagName("bexpr"))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Failed to create boolean expression evaluator: "+err.Error())
	}
	return &filter{eval: e}, nil
}

// filterOf is filter for lists of one kind of record: sample is one with
// something in each of its lists. An expression that does not fit it is refused,
// however short the list is that it is for.
func (x *exchange) filterOf(sample any) (*filter, error) {
	f, err := x.filter()
	if err != nil || f == nil {
		return f, err
	}
	ast, err := grammar.Parse("", []byte(x.get("filter")), grammar.MaxExpressions(maxFilterSteps))
	if err == nil {
		err = fits(ast, sample)
	}
	if err == nil {
		_, err = f.eval.Evaluate(sample) // what fits does not see: the insides of any and all
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Failed to create boolean expression evaluator: "+err.Error())
	}
	f.lenient, err = bexpr.CreateEvaluator(x.get("filter"), bexpr.WithMaxExpressions(maxFilterSteps), bexpr.WithUnknownValue(""))
	return f, err
}

// fits returns an error unless each comparison in the expression can be made
// with the sample: evaluating the whole stops at the first that decides.
func fits(expression, sample any) error {
	switch e := expression.(type) {
	case *grammar.UnaryExpression:
		return fits(e.Operand, sample)
	case *grammar.BinaryExpression:
		if err := fits(e.Left, sample); err != nil {
			return err
		}
		return fits(e.Right, sample)
	case *grammar.MatchExpression:
		if len(e.Selector.Path) == 0 {
			return errors.New("a selector is empty")
		}
		if e.Operator == grammar.MatchMatches || e.Operator == grammar.MatchNotMatches {
			if _, err := regexp.Compile(e.Value.Raw); err != nil {
				return err
			}
		}
		fill(reflect.ValueOf(sample), e.Selector.Path)
		one, err := bexpr.CreateEvaluator(comparison(e), bexpr.WithMaxExpressions(maxFilterSteps))
		if err != nil {
			return err
		}
		_, err = one.Evaluate(sample)
		return err
	}
	return nil
}

// fill puts a record into a map of records where a selector goes through it:
// any key may be there.
func fill(v reflect.Value, path []string) {
	for ; len(path) > 1; path = path[1:] {
		v = reflect.Indirect(v)
		switch {
		case v.Kind() == reflect.Struct:
			v = v.FieldByName(path[0])
		case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.Struct && v.CanSet():
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(reflect.ValueOf(path[0]).Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
			return
		default:
			return
		}
	}
}

// comparison writes one comparison as an expression of its own.
func comparison(e *grammar.MatchExpression) string {
	selector := e.Selector.Path[0]
	for _, part := range e.Selector.Path[1:] {
		selector += "[" + literal(part) + "]"
	}
	if e.Value == nil {
		if e.Operator == grammar.MatchIsNil || e.Operator == grammar.MatchIsNotNil {
			return selector + " is nil"
		}
		return selector + " is empty"
	}
	value := literal(e.Value.Raw)
	switch e.Operator {
	case grammar.MatchIn, grammar.MatchNotIn, grammar.MatchContains, grammar.MatchNotContains:
		return selector + " contains " + value
	case grammar.MatchMatches, grammar.MatchNotMatches:
		return selector + " matches " + value
	}
	return selector + " == " + value
}

// literal writes a string so that the grammar takes it: it knows no escaped
// quotes.
func literal(s string) string {
	q := strconv.Quote(s)
	return `"` + strings.ReplaceAll(q[1:len(q)-1], `\"`, `\x22`) + `"`
}

// pass reports whether the record satisfies the filter.
func (f *filter) pass(record any) (bool, error) {
	if f == nil {
		return true, nil
	}
	ok, err := f.eval.Evaluate(record)
	if err != nil && f.lenient != nil { // a key is missing in a map of records
		ok, err = f.lenient.Evaluate(record)
	}
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

func (x *exchange) selection() (*selection, error) { return x.choose(x.filter) }

// selectionOf is selection for lists of records like the sample: see filterOf.
func (x *exchange) selectionOf(sample any) (*selection, error) {
	return x.choose(func() (*filter, error) { return x.filterOf(sample) })
}

// takePairs hands ?node-meta over to the operation, in order: what is asked in
// another order is the same.
func (s *selection) takePairs() []string {
	var pairs []string
	for k, v := range s.meta {
		pairs = append(pairs, k+":"+v)
	}
	slices.Sort(pairs)
	s.meta = nil
	return pairs
}

func (x *exchange) choose(parse func() (*filter, error)) (*selection, error) {
	sel := &selection{}
	if len(x.params) == 0 {
		return sel, nil
	}
	var err error
	if sel.filter, err = parse(); err != nil {
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

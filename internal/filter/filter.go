// Package filter evaluates the boolean expressions by which clients choose
// records of a list (?filter). What a client sends is bounded: in length, in
// work to read it, and it is refused where it cannot fit the records.
package filter

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/hashicorp/go-bexpr"
	"github.com/hashicorp/go-bexpr/grammar"
)

// Bounds on expressions.
const (
	maxLength = 4096
	// maxSteps is for the parser, which backtracks, and brackets make it do so without
	// end. A comparison takes some 600 steps.
	maxSteps = 1 << 17
	// maxPattern is how many characters and choices the patterns of an expression have
	// together once their repetitions are written out, as compiling does: a{1000} has
	// a thousand.
	maxPattern = 10_000
)

// Filter is a parsed expression; nil lets everything pass.
type Filter struct {
	eval *bexpr.Evaluator
	// lenient takes what a selector does not find in a record as the empty
	// string: for expressions that are known to fit. Nil if that is not known.
	lenient *bexpr.Evaluator
	paths   [][]string
}

// Paths are what the expression asks of a record, each from its field on: keys of maps
// among them, which a record need not have. What is asked of the items of a list is not
// among them.
func (f *Filter) Paths() [][]string {
	if f == nil {
		return nil
	}
	return f.paths
}

// paths lists the selectors of an expression but those that begin with a name that is
// bound to an item of a list.
func paths(expression any, bound map[string]bool) [][]string {
	of := func(s grammar.Selector) [][]string {
		if len(s.Path) == 0 || bound[s.Path[0]] {
			return nil
		}
		return [][]string{s.Path}
	}
	switch e := expression.(type) {
	case *grammar.UnaryExpression:
		return paths(e.Operand, bound)
	case *grammar.BinaryExpression:
		return append(paths(e.Left, bound), paths(e.Right, bound)...)
	case *grammar.MatchExpression:
		return of(e.Selector)
	case *grammar.CollectionExpression:
		inner := map[string]bool{}
		maps.Copy(inner, bound)
		for _, name := range []string{e.NameBinding.Default, e.NameBinding.Index, e.NameBinding.Value} {
			inner[name] = name != ""
		}
		return append(of(e.Selector), paths(e.Inner, inner)...)
	}
	return nil
}

// Parse reads an expression; the empty one lets everything pass. Errors say what
// is wrong with it.
func Parse(text string) (*Filter, error) {
	f, _, err := parse(text)
	return f, err
}

// parse is Parse, and returns the expression as a tree as well.
func parse(text string) (*Filter, any, error) {
	if text == "" {
		return nil, nil, nil
	}
	if len(text) > maxLength {
		return nil, nil, fmt.Errorf("Invalid filter: it is longer than %d bytes", maxLength)
	}
	tree, err := grammar.Parse("", []byte(text), grammar.MaxExpressions(maxSteps))
	if err != nil {
		return nil, nil, unfit(err)
	}
	if n, err := patterns(tree); err != nil {
		return nil, nil, unfit(err)
	} else if n > maxPattern {
		return nil, nil, fmt.Errorf("Invalid filter: its patterns are too long: written out, they have %d characters, at most %d are taken", n, maxPattern)
	}
	e, err := bexpr.CreateEvaluator(text, bexpr.WithMaxExpressions(maxSteps), bexpr.WithTagName("bexpr"))
	if err != nil {
		return nil, nil, unfit(err)
	}
	return &Filter{eval: e, paths: paths(tree, nil)}, tree, nil
}

// patterns adds up the sizes of all regular expressions in an expression.
func patterns(expression any) (int, error) {
	switch e := expression.(type) {
	case *grammar.UnaryExpression:
		return patterns(e.Operand)
	case *grammar.BinaryExpression:
		left, err := patterns(e.Left)
		if err != nil {
			return 0, err
		}
		right, err := patterns(e.Right)
		return left + right, err
	case *grammar.CollectionExpression:
		return patterns(e.Inner)
	case *grammar.MatchExpression:
		if e.Operator == grammar.MatchMatches || e.Operator == grammar.MatchNotMatches {
			re, err := syntax.Parse(e.Value.Raw, syntax.Perl)
			if err != nil {
				return 0, err
			}
			return size(re), nil
		}
	}
	return 0, nil
}

// size is how many parts a regular expression has with its repetitions written
// out. The parser bounds how large it can be.
func size(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += size(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

func unfit(err error) error {
	return fmt.Errorf("Failed to create boolean expression evaluator: %w", err)
}

// ParseFor is Parse for lists of one kind of record: sample is one with
// something in each of its lists. An expression that does not fit it is refused,
// however short the list is that it is for.
func ParseFor(text string, sample any) (*Filter, error) {
	f, tree, err := parse(text)
	if err != nil || f == nil {
		return f, err
	}
	if err = fits(tree, sample); err == nil {
		_, err = f.eval.Evaluate(sample) // what fits does not see: the insides of any and all
	}
	if err != nil {
		return nil, unfit(err)
	}
	f.lenient, err = bexpr.CreateEvaluator(text, bexpr.WithMaxExpressions(maxSteps), bexpr.WithUnknownValue(""))
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
		fill(reflect.ValueOf(sample), e.Selector.Path)
		one, err := bexpr.CreateEvaluator(comparison(e), bexpr.WithMaxExpressions(maxSteps))
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

// Pass reports whether the record satisfies the filter.
func (f *Filter) Pass(record any) (bool, error) {
	if f == nil {
		return true, nil
	}
	ok, err := f.eval.Evaluate(record)
	if err != nil && f.lenient != nil { // a key is missing in a map of records
		ok, err = f.lenient.Evaluate(record)
	}
	if err != nil {
		return false, fmt.Errorf("Failed to evaluate filter: %w", err)
	}
	return ok, nil
}

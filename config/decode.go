package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// decoder fills one Config from the trees of several sources, one after the
// other. It goes on after a fault, so that all are reported.
type decoder struct {
	source string // what messages call the source: a file or the command line; empty for a request
	// lenient takes what clients of the HTTP API send: unknown keys, empty
	// durations, durations in nanoseconds.
	lenient bool
	set     map[string]string // key → the source that set it last
	faults  []error
	notes   []string
}

func (d *decoder) fault(path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if d.source == "" {
		d.faults = append(d.faults, fmt.Errorf("%s: %s", path, text))
		return
	}
	d.faults = append(d.faults, fmt.Errorf("%s: %s: %s", d.source, path, text))
}

// block decodes the keys of a block in the order of their names.
func (d *decoder) block(path string, tree map[string]any, v reflect.Value, above marks) {
	fields := fieldsOf(v.Type(), above)
	byName := make(map[string]*field, len(fields))
	for i := range fields {
		f := &fields[i]
		byName[fold(f.key, above.names)] = f
		for _, alias := range f.aliases {
			byName[fold(alias, above.names)] = f
		}
	}
	seen := map[string]string{}
	for _, key := range sortedKeys(tree) {
		name := fold(key, above.names)
		f, ok := byName[name]
		if !ok {
			if !d.lenient {
				d.fault(join(path, key), "unknown key%s", didYouMean(key, fields))
			}
			continue
		}
		if first, twice := seen[name]; twice {
			d.fault(join(path, key), "is given twice, here and as %q", first)
			continue
		}
		seen[name] = key
		if tree[key] == nil {
			continue
		}
		d.key(join(path, f.key), tree[key], v.Field(f.index), f)
	}
}

func sortedKeys(tree map[string]any) []string { return slices.Sorted(maps.Keys(tree)) }

// fold brings spellings of one key together: case never matters, and in
// definitions CamelCase stands for snake_case.
func fold(key string, camel bool) string {
	key = strings.ToLower(key)
	if camel {
		key = strings.ReplaceAll(key, "_", "")
	}
	return key
}

func (d *decoder) key(path string, raw any, v reflect.Value, f *field) {
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	switch {
	case isBlock(f.typ):
		d.eachBlock(path, f.inBlock(raw), func(tree map[string]any) { d.block(path, tree, v, f.marks) })
		return // its keys speak for themselves
	case f.typ.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(f.typ.Elem()))
			setDefaults(v.Elem())
		}
		d.eachBlock(path, raw, func(tree map[string]any) { d.block(path, tree, v.Elem(), f.marks) })
	case isBlockList(f.typ):
		d.blockList(path, raw, v, f)
	case isKeyBytes(f.typ):
		d.keyBytes(path, raw, v)
	case isFreeForm(f.typ):
		d.freeForm(path, raw, v)
	case f.marks.words:
		d.words(path, raw, v)
	case f.typ.Kind() == reflect.Slice:
		d.list(path, raw, v)
	case f.typ.Kind() == reflect.Map:
		d.mapping(path, raw, v, f)
	default:
		d.scalar(path, raw, v)
	}
	d.set[path] = d.source
	d.remark(path, f.marks, !reflect.DeepEqual(before.Interface(), v.Interface()))
}

// remark notes what a user should know about a key that changed something.
func (d *decoder) remark(path string, m marks, changed bool) {
	switch {
	case !changed || m.silent || d.source == devFlag:
	case m.enterprise:
		d.notes = append(d.notes, fmt.Sprintf("%s: %s belongs to Consul's enterprise edition and has no effect", d.source, path))
	case m.pending:
		d.notes = append(d.notes, fmt.Sprintf("%s: %s is accepted but has no effect yet", d.source, path))
	}
}

// blocksOf returns the blocks in raw: HCL gives a list even for one.
func blocksOf(raw any) ([]map[string]any, bool) {
	switch raw := raw.(type) {
	case map[string]any:
		return []map[string]any{raw}, true
	case []map[string]any:
		return raw, true
	case []any:
		var all []map[string]any
		for _, item := range raw {
			some, ok := blocksOf(item)
			if !ok {
				return nil, false
			}
			all = append(all, some...)
		}
		return all, true
	}
	return nil, false
}

// inBlock puts a plain value that stands for one key into a block, and switches on what a
// block of other keys switches on.
func (f *field) inBlock(raw any) any {
	if f.plain == "" {
		return raw
	}
	blocks, ok := blocksOf(raw)
	if !ok {
		return map[string]any{f.plain: raw}
	}
	for _, key := range fieldsOf(f.typ, marks{}) {
		if key.key != f.plain || key.typ.Kind() != reflect.Bool {
			continue
		}
		for i, tree := range blocks {
			if _, set := tree[f.plain]; !set {
				blocks[i] = maps.Clone(tree)
				blocks[i][f.plain] = true
			}
		}
	}
	return blocks
}

func (d *decoder) eachBlock(path string, raw any, do func(map[string]any)) {
	blocks, ok := blocksOf(raw)
	if !ok {
		d.fault(path, "want a block, got %s", describe(raw))
		return
	}
	for _, tree := range blocks {
		do(tree)
	}
}

func (d *decoder) blockList(path string, raw any, v reflect.Value, f *field) {
	d.eachBlock(path, raw, func(tree map[string]any) {
		item := reflect.New(f.typ.Elem()).Elem()
		setDefaults(item)
		at := fmt.Sprintf("%s[%d]", path, v.Len())
		d.block(at, tree, item, f.marks)
		d.set[at] = d.source
		v.Set(reflect.Append(v, item))
	})
}

func (d *decoder) keyBytes(path string, raw any, v reflect.Value) {
	s, ok := raw.(string)
	if !ok {
		d.fault(path, "want a string, got %s", describe(raw))
		return
	}
	key, err := decodeKeyText(s)
	if err != nil {
		d.fault(path, "%v", err)
		return
	}
	v.SetBytes(key)
}

// freeForm keeps a block whose keys are none of ours.
func (d *decoder) freeForm(path string, raw any, v reflect.Value) {
	blocks, ok := blocksOf(raw)
	if !ok || len(blocks) != 1 {
		d.fault(path, "want a block, got %s", describe(raw))
		return
	}
	text, err := json.Marshal(plainBlock(blocks[0], exact))
	if err != nil {
		d.fault(path, "%v", err)
		return
	}
	form, err := mesh.NewFreeForm(text)
	if err != nil {
		d.fault(path, "%v", err)
		return
	}
	v.SetBytes(form)
}

// words replaces the list by one string; finish splits it when templates have
// been expanded.
func (d *decoder) words(path string, raw any, v reflect.Value) {
	s, ok := raw.(string)
	if list, isList := raw.([]any); isList && len(list) == 1 {
		s, ok = list[0].(string)
	}
	if !ok {
		d.fault(path, "want a string of values separated by spaces, got %s", describe(raw))
		return
	}
	v.Set(reflect.ValueOf([]string{s}))
}

// list appends strings or raw maps.
func (d *decoder) list(path string, raw any, v reflect.Value) {
	elem := v.Type().Elem()
	if elem.Kind() == reflect.Map {
		d.eachBlock(path, raw, func(tree map[string]any) { v.Set(reflect.Append(v, reflect.ValueOf(plainBlock(tree, inexact)))) })
		return
	}
	items, ok := raw.([]any)
	if !ok {
		d.fault(path, "want a list of strings, got %s", describe(raw))
		return
	}
	all := reflect.MakeSlice(v.Type(), 0, v.Len()+len(items))
	all = reflect.AppendSlice(all, v)
	for i, item := range items {
		s, ok := item.(string)
		if !ok {
			d.fault(fmt.Sprintf("%s[%d]", path, i), "want a string, got %s", describe(item))
			continue
		}
		all = reflect.Append(all, reflect.ValueOf(s))
	}
	v.Set(all)
}

// mapping adds the pairs of a map; later ones win.
func (d *decoder) mapping(path string, raw any, v reflect.Value, f *field) {
	d.eachBlock(path, raw, func(tree map[string]any) {
		all := reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			all.SetMapIndex(k, v.MapIndex(k))
		}
		for _, key := range sortedKeys(tree) {
			item := reflect.New(v.Type().Elem()).Elem()
			itemPath := join(path, key)
			switch item.Kind() {
			case reflect.Struct:
				d.eachBlock(itemPath, tree[key], func(t map[string]any) { d.block(itemPath, t, item, f.marks) })
			case reflect.Slice:
				d.list(itemPath, tree[key], item)
			default:
				d.scalar(itemPath, tree[key], item)
			}
			all.SetMapIndex(reflect.ValueOf(key), item)
		}
		v.Set(all)
	})
}

func (d *decoder) scalar(path string, raw any, v reflect.Value) {
	if d.lenient && isDuration(v.Type()) {
		if raw == "" {
			return
		}
		if n, ok := number(raw); ok && n == math.Trunc(n) && math.Abs(n) <= 1<<53 {
			v.SetInt(int64(n))
			return
		}
	}
	if err := assignScalar(v, raw); err != nil {
		d.fault(path, "%v", err)
	}
}

// assignScalar sets a string, number, boolean, duration or raw value.
func assignScalar(v reflect.Value, raw any) error {
	if isDuration(v.Type()) {
		s, ok := raw.(string)
		if !ok {
			return fmt.Errorf("invalid duration: want one such as \"10s\", got %s", describe(raw))
		}
		n, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("invalid duration %q: want one such as \"10s\"", s)
		}
		v.SetInt(int64(n))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		s, ok := raw.(string)
		if !ok {
			return fmt.Errorf("want a string, got %s", describe(raw))
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := raw.(bool)
		if !ok {
			return fmt.Errorf("want true or false, got %s", describe(raw))
		}
		v.SetBool(b)
	case reflect.Int:
		n, ok := number(raw)
		if !ok || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
			return fmt.Errorf("want a whole number, got %s", describe(raw))
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		n, ok := number(raw)
		if !ok {
			return fmt.Errorf("want a number, got %s", describe(raw))
		}
		v.SetFloat(n)
	case reflect.Interface:
		v.Set(reflect.ValueOf(plain(raw, inexact)))
	default:
		panic(fmt.Sprintf("config: no way to decode a %s", v.Type()))
	}
	return nil
}

func number(raw any) (float64, bool) {
	switch raw := raw.(type) {
	case int:
		return float64(raw), true
	case float64:
		return raw, !math.IsNaN(raw) && !math.IsInf(raw, 0)
	case json.Number:
		n, err := raw.Float64()
		return n, err == nil
	}
	return 0, false
}

// plain gives raw values one shape, whichever format they came from; of says
// what becomes of numbers.
func plain(raw any, of func(any) any) any {
	switch raw := raw.(type) {
	case map[string]any:
		return plainBlock(raw, of)
	case []map[string]any:
		if len(raw) == 1 {
			return plainBlock(raw[0], of)
		}
		all := make([]any, len(raw))
		for i, tree := range raw {
			all[i] = plainBlock(tree, of)
		}
		return all
	case []any:
		all := make([]any, len(raw))
		for i, item := range raw {
			all[i] = plain(item, of)
		}
		return all
	case int, json.Number:
		return of(raw)
	}
	return raw
}

func plainBlock(tree map[string]any, of func(any) any) map[string]any {
	all := make(map[string]any, len(tree))
	for key, value := range tree {
		all[key] = plain(value, of)
	}
	return all
}

func inexact(raw any) any { n, _ := number(raw); return n }

func exact(raw any) any { return raw }

// describe names a value's type for messages. It shows numbers and booleans
// only: strings may be secrets.
func describe(raw any) string {
	switch raw := raw.(type) {
	case nil:
		return "nothing"
	case string:
		return "a string"
	case bool:
		return fmt.Sprintf("%t", raw)
	case int, float64, json.Number:
		return fmt.Sprintf("the number %v", raw)
	case []any:
		return "a list"
	case map[string]any, []map[string]any:
		return "a block"
	}
	return fmt.Sprintf("a %T", raw)
}

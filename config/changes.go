package config

import (
	"maps"
	"reflect"
	"strings"
)

// hidden stands for the value of a secret key.
const hidden = "hidden"

// Change is one key that differs between two configurations.
type Change struct {
	Key    string // path with dots, such as dns_config.node_ttl
	Reload bool   // a reload brings it into effect; otherwise a restart does
}

// Changes lists the keys that differ, in the order of their declaration.
func Changes(from, to *Config) []Change {
	return changes("", reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem(), marks{})
}

func changes(path string, from, to reflect.Value, above marks) []Change {
	var list []Change
	for _, f := range fieldsOf(from.Type(), above) {
		a, b, at := from.Field(f.index), to.Field(f.index), join(path, f.key)
		switch {
		case isBlock(f.typ):
			list = append(list, changes(at, a, b, f.marks)...)
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			list = append(list, Change{Key: at, Reload: f.marks.reload})
		}
	}
	return list
}

// Settings returns the configuration by key, for people to look at: blocks
// are maps, durations text, and what is secret shows only that it is set.
func (c *Config) Settings() map[string]any {
	return settings(reflect.ValueOf(c).Elem(), marks{})
}

func settings(v reflect.Value, above marks) map[string]any {
	all := map[string]any{}
	for _, f := range fieldsOf(v.Type(), above) {
		value := v.Field(f.index)
		if f.marks.secret && !isBlock(f.typ) {
			if !value.IsZero() {
				all[f.key] = hidden
			}
			continue
		}
		all[f.key] = setting(value, f)
	}
	return all
}

func setting(v reflect.Value, f field) any {
	switch {
	case isDuration(v.Type()):
		return v.Interface().(interface{ String() string }).String()
	case isBlock(v.Type()):
		return settings(v, f.marks)
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return settings(v.Elem(), f.marks)
	case isBlockList(v.Type()):
		list := make([]any, v.Len())
		for i := range list {
			list[i] = settings(v.Index(i), f.marks)
		}
		return list
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() != reflect.String:
		all := map[string]any{}
		for _, k := range v.MapKeys() {
			all[k.String()] = setting(v.MapIndex(k), f)
		}
		return all
	case v.Kind() == reflect.Map:
		return maps.Clone(v.Interface().(map[string]string))
	case v.Type() == reflect.TypeFor[[]map[string]any]():
		list := make([]any, v.Len())
		for i := range list {
			list[i] = veiled(v.Index(i).Interface())
		}
		return list
	case v.Type() == reflect.TypeFor[[]string]():
		return JoinEntriesToShow(v.Interface().([]string)) // of other lists all is shown
	}
	return v.Interface()
}

// veiled is what only its user knows the keys of, without what is secret by its name.
func veiled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			switch strings.ToLower(key) {
			case "token", "header", "headers":
				out[key] = hidden
			default:
				out[key] = veiled(value)
			}
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = veiled(v[i])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = veiled(v[i])
		}
		return out
	}
	return v
}

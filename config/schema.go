package config

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// field is one key of a block, read from the tags of a struct field.
type field struct {
	key     string
	aliases []string
	flags   []string
	def     string
	unit    string
	doc     string
	plain   string // of a block: the key that a plain value in its place stands for
	index   int
	typ     reflect.Type
	marks   marks
}

// marks say how a key is treated. A block hands pending, silent, enterprise,
// reload, secret and names on to its keys.
type marks struct {
	reload, pending, silent, enterprise, secret, words, names bool
}

func parseMarks(tag string, above marks) (marks, error) {
	m := above
	m.words = false
	if tag == "" {
		return m, nil
	}
	for _, word := range strings.Split(tag, ",") {
		switch word {
		case "reload":
			m.reload = true
		case "pending":
			m.pending = true
		case "silent":
			m.silent = true
		case "enterprise":
			m.enterprise = true
		case "secret":
			m.secret = true
		case "words":
			m.words = true
		case "names":
			m.names = true
		default:
			return m, fmt.Errorf("unknown mark %q", word)
		}
	}
	return m, nil
}

// fieldsOf reads the declarations of a block. Fields without a key are no
// configuration. A wrong tag is a programmer's error and panics.
func fieldsOf(t reflect.Type, above marks) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		key := sf.Tag.Get("key")
		if key == "" {
			continue
		}
		m, err := parseMarks(sf.Tag.Get("mark"), above)
		if err != nil {
			panic(fmt.Sprintf("config: field %s.%s: %v", t.Name(), sf.Name, err))
		}
		fields = append(fields, field{
			key: key, index: i, typ: sf.Type, marks: m,
			aliases: splitTag(sf.Tag.Get("alias")),
			flags:   splitTag(sf.Tag.Get("flag")),
			def:     sf.Tag.Get("default"),
			unit:    sf.Tag.Get("unit"),
			doc:     sf.Tag.Get("doc"),
			plain:   sf.Tag.Get("plain"),
		})
	}
	return fields
}

func splitTag(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func isBlock(t reflect.Type) bool { return t.Kind() == reflect.Struct }

func isBlockList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

func isFreeForm(t reflect.Type) bool { return t == reflect.TypeFor[mesh.FreeForm]() }

func isKeyBytes(t reflect.Type) bool { return t == reflect.TypeFor[[]byte]() }

// setDefaults fills a block with its declared defaults.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type(), marks{}) {
		target := v.Field(f.index)
		if isBlock(f.typ) {
			setDefaults(target)
			continue
		}
		if f.def == "" {
			continue
		}
		if f.marks.words {
			target.Set(reflect.ValueOf([]string{f.def}))
			continue
		}
		raw, err := parseText(f.typ, f.def)
		if err == nil {
			err = assignScalar(target, raw)
		}
		if err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", f.key, err))
		}
	}
}

// parseText reads the form that flags and defaults have into what a file
// would hold.
func parseText(t reflect.Type, s string) (any, error) {
	if isDuration(t) || isKeyBytes(t) {
		return s, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return nil, fmt.Errorf("want true or false, got %q", s)
		}
		return b, nil
	case reflect.Int:
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("want a whole number, got %q", s)
		}
		return n, nil
	case reflect.Float64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("want a number, got %q", s)
		}
		return n, nil
	case reflect.Slice:
		return []any{s}, nil
	case reflect.Map:
		key, value, ok := strings.Cut(s, ":")
		if !ok {
			return nil, fmt.Errorf("want key:value, got %q", s)
		}
		return map[string]any{key: value}, nil
	default:
		return s, nil
	}
}

// decodeKeyText reads a gossip key. The text is not repeated in errors.
func decodeKeyText(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("the gossip key is not base64")
	}
	switch len(key) {
	case 16, 24, 32:
		return key, nil
	}
	return nil, fmt.Errorf("the gossip key has %d bytes: it must have 16, 24 or 32", len(key))
}

// typeName says in words what a key wants.
func typeName(f field) string {
	switch {
	case isDuration(f.typ):
		return "duration"
	case isKeyBytes(f.typ):
		return "base64"
	case isFreeForm(f.typ):
		return "map"
	case f.marks.words:
		return "string"
	}
	switch f.typ.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Struct, reflect.Pointer:
		return "block"
	case reflect.Slice:
		switch f.typ.Elem().Kind() {
		case reflect.Struct, reflect.Map:
			return "list of blocks"
		}
		return "list"
	case reflect.Map:
		return "map"
	case reflect.Interface:
		return "anything"
	}
	return "string"
}

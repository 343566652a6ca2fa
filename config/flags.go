package config

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Flags holds what the command line sets. It is filled by the flag set that
// it was registered on.
type Flags struct {
	// Paths are the files and directories of -config-file and -config-dir in
	// the order given.
	Paths []string
	// Format is the value of -config-format: hcl, json or empty.
	Format string
	// Dev says that -dev was given.
	Dev bool

	inline []string       // fragments of -hcl
	tree   map[string]any // scalars and maps by key
	lists  map[string]any // lists by key
}

// RegisterFlags declares a flag for each key that has one, and those that
// name files.
func RegisterFlags(fs *flag.FlagSet) *Flags {
	f := &Flags{tree: map[string]any{}, lists: map[string]any{}}
	path := func(s string) error { f.Paths = append(f.Paths, s); return nil }
	fs.Func("config-file", "read this configuration `file`; may be repeated", path)
	fs.Func("config-dir", "read the .hcl and .json files of this `directory` in the order of their names; may be repeated", path)
	fs.StringVar(&f.Format, "config-format", "", "read files as `hcl|json`, whatever their names end in")
	fs.BoolVar(&f.Dev, "dev", false, "run a server for development: alone, in memory, on the loopback interface")
	fs.Func("hcl", "a `fragment` of HCL, read after the files; may be repeated", func(s string) error {
		f.inline = append(f.inline, s)
		return nil
	})
	f.register(fs, "", reflect.TypeFor[Config](), marks{})
	return f
}

func (f *Flags) register(fs *flag.FlagSet, path string, t reflect.Type, above marks) {
	for _, key := range fieldsOf(t, above) {
		at := join(path, key.key)
		if isBlock(key.typ) {
			f.register(fs, at, key.typ, key.marks)
			continue
		}
		for i, name := range key.flags {
			usage := key.usage()
			if i > 0 {
				usage = "the same as -" + key.flags[0]
			}
			fs.Var(&keyFlag{flags: f, path: at, key: key}, name, usage)
		}
	}
}

// usage is what the help says of a flag: meaning, default, and what has no
// effect.
func (f field) usage() string {
	text := f.doc
	if d := defaultCell(f); d != "" && d != "false" && d != "0" {
		text += " Default: " + strings.TrimSuffix(d, ".") + "."
	}
	switch {
	case f.marks.silent:
		text += " Accepted and ignored."
	case f.marks.enterprise:
		text += " Accepted, without effect."
	case f.marks.pending:
		text += " Accepted, without effect yet."
	}
	return text
}

// keyFlag is the flag.Value of one key.
type keyFlag struct {
	flags *Flags
	path  string
	key   field
}

var _ flag.Getter = (*keyFlag)(nil)

// String returns nothing: defaults are part of the usage.
func (k *keyFlag) String() string { return "" }

// Get returns what was set, nil if nothing was.
func (k *keyFlag) Get() any {
	if k.flags == nil {
		return nil
	}
	tree, name := k.block(k.flags.tree)
	return tree[name]
}

// IsBoolFlag lets the flag stand without a value.
func (k *keyFlag) IsBoolFlag() bool { return k.key.typ != nil && k.key.typ.Kind() == reflect.Bool }

// Set implements flag.Value: it checks the type at once and keeps the value.
func (k *keyFlag) Set(s string) error {
	raw, err := parseText(k.key.typ, s)
	if k.key.marks.words {
		raw = s
	}
	if err == nil && !isList(k.key) && k.key.typ.Kind() != reflect.Map {
		err = k.check(raw)
	}
	if err != nil {
		return err
	}
	if isList(k.key) {
		tree, name := k.block(k.flags.lists)
		old, _ := tree[name].([]any)
		tree[name] = append(old, s)
		return nil
	}
	tree, name := k.block(k.flags.tree)
	if pair, isMap := raw.(map[string]any); isMap {
		if old, ok := tree[name].(map[string]any); ok {
			maps.Copy(old, pair)
			return nil
		}
	}
	tree[name] = raw
	return nil
}

// check decodes into a value that is thrown away.
func (k *keyFlag) check(raw any) error {
	if isKeyBytes(k.key.typ) || k.key.marks.secret {
		return nil // Load does: a flag set repeats what it was given in its errors
	}
	if k.key.marks.words {
		return nil
	}
	return assignScalar(reflect.New(k.key.typ).Elem(), raw)
}

func isList(f field) bool {
	return f.typ.Kind() == reflect.Slice && !isKeyBytes(f.typ) && !f.marks.words
}

// block walks to the block that holds the key and makes it on the way.
func (k *keyFlag) block(tree map[string]any) (map[string]any, string) {
	parts := strings.Split(k.path, ".")
	for _, part := range parts[:len(parts)-1] {
		next, ok := tree[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[part] = next
		}
		tree = next
	}
	return tree, parts[len(parts)-1]
}

// fragments parses the values of -hcl.
func (f *Flags) fragments() ([]map[string]any, error) {
	var trees []map[string]any
	var errs []error
	for i, text := range f.inline {
		tree, err := parseTree([]byte(text), "hcl")
		if err != nil {
			errs = append(errs, fmt.Errorf("-hcl, number %d: %w", i+1, err))
			continue
		}
		trees = append(trees, tree)
	}
	return trees, errors.Join(errs...)
}

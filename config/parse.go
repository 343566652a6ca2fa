package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"
)

const (
	// maxFileSize bounds a file: more is no configuration.
	maxFileSize = 16 << 20
	// maxNesting bounds how deep blocks and lists may be nested; the HCL
	// parser recurses without a bound of its own.
	maxNesting = 200
)

// formatOf says how a file is to be read: by the override, else by its name.
func formatOf(path, override string) (string, error) {
	format := override
	if format == "" {
		format = strings.TrimPrefix(filepath.Ext(path), ".")
	}
	if format != "hcl" && format != "json" {
		if override != "" {
			return "", fmt.Errorf("unknown configuration format %q: use hcl or json", override)
		}
		return "", fmt.Errorf("%s: its name must end in .hcl or .json, or -config-format must be given", path)
	}
	return format, nil
}

// filesOf resolves a path of the command line: a file stands for itself, a
// directory for its files with a known ending (with an override: for all of
// its files) in the order of their names, without its subdirectories.
func filesOf(path, override string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("read configuration directory: %w", err)
	}
	var files []string
	for _, entry := range entries {
		file := filepath.Join(path, entry.Name())
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue // gone, or a directory behind a link
		}
		if _, err := formatOf(file, override); err == nil {
			files = append(files, file)
		}
	}
	return files, nil
}

// Files are the files that the flags name, now, in the order in which they are
// read. What cannot be listed is left out: reading it is what says why.
func (f *Flags) Files() []string {
	var all []string
	for _, path := range f.Paths {
		files, err := filesOf(path, f.Format)
		if err == nil {
			all = append(all, files...)
		}
	}
	return all
}

// readTree reads one file into maps, lists and scalars.
func readTree(path, override string) (map[string]any, error) {
	format, err := formatOf(path, override)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFileSize)
	}
	tree, err := parseTree(data, format)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tree, nil
}

// parseTree parses a text in the format hcl or json.
func parseTree(data []byte, format string) (map[string]any, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return map[string]any{}, nil // such as a file that is filled later
	}
	if deep(data) {
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	}
	if format == "json" {
		return parseJSON(data)
	}
	return parseHCL(data)
}

// deep reports brackets nested beyond maxNesting. It does not know strings,
// so it may count a few too many.
func deep(data []byte) bool {
	depth := 0
	for _, b := range data {
		switch b {
		case '{', '[':
			if depth++; depth > maxNesting {
				return true
			}
		case '}', ']':
			depth = max(0, depth-1)
		}
	}
	return false
}

func parseJSON(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse JSON: more text follows the object")
	}
	return tree, nil
}

// parseHCL reads HCL version 1. The library panics on some broken literals;
// that is an error of the file, not of the program.
func parseHCL(data []byte) (tree map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("parse HCL: %v", r)
		}
	}()
	file, err := hcl.ParseBytes(data)
	if err != nil {
		return nil, fmt.Errorf("parse HCL: %w", err)
	}
	if endsInAssignment(data) {
		return nil, errors.New("parse HCL: the text ends before a value")
	}
	root, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("parse HCL: no list of keys")
	}
	return fromObject(root)
}

// endsInAssignment finds what the parser passes over in silence: a key and =
// at the end of a text that was cut.
func endsInAssignment(data []byte) bool {
	sc := scanner.New(data)
	sc.Error = func(token.Pos, string) {} // the parser has reported them
	last := token.EOF
	for tok := sc.Scan(); tok.Type != token.EOF && tok.Type != token.ILLEGAL; tok = sc.Scan() {
		if tok.Type != token.COMMENT {
			last = tok.Type
		}
	}
	return last == token.ASSIGN
}

// fromObject makes a map of an object. A block that is there several times
// becomes a list; a plain value may be there once.
func fromObject(list *ast.ObjectList) (map[string]any, error) {
	tree := map[string]any{}
	for _, item := range list.Items {
		value, err := fromNode(item.Val)
		if err != nil {
			return nil, err
		}
		for i := len(item.Keys) - 1; i > 0; i-- { // labels: key "label" { }
			value = map[string]any{keyOf(item.Keys[i]): value}
		}
		if len(item.Keys) == 0 {
			return nil, fmt.Errorf("%s: a value without a key", item.Pos())
		}
		key := keyOf(item.Keys[0])
		old, twice := tree[key]
		if !twice {
			tree[key] = value
			continue
		}
		a, okA := blocksOf(old)
		b, okB := blocksOf(value)
		if !okA || !okB {
			return nil, fmt.Errorf("%s: %s is given twice", item.Pos(), key)
		}
		tree[key] = append(a[:len(a):len(a)], b...)
	}
	return tree, nil
}

func keyOf(k *ast.ObjectKey) string {
	if s, ok := k.Token.Value().(string); ok {
		return s
	}
	return k.Token.Text
}

func fromNode(node ast.Node) (any, error) {
	switch node := node.(type) {
	case *ast.ObjectType:
		return fromObject(node.List)
	case *ast.ListType:
		list := make([]any, 0, len(node.List))
		for _, item := range node.List {
			value, err := fromNode(item)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case *ast.LiteralType:
		// numbers stay as they are written
		if node.Token.Type == token.NUMBER || node.Token.Type == token.FLOAT && json.Valid([]byte(node.Token.Text)) {
			return json.Number(node.Token.Text), nil
		}
		if node.Token.Type == token.IDENT {
			return nil, fmt.Errorf("%s: %s must be in quotes", node.Pos(), node.Token.Text)
		}
		if node.Token.JSON && node.Token.Text == "null" {
			return nil, nil
		}
		return node.Token.Value(), nil
	}
	return nil, fmt.Errorf("%s: unknown kind of value", node.Pos())
}

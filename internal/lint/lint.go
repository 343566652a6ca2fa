// Package lint keeps the rules of this source tree that a compiler does not
// know: which room may import which, how large things may get, and what no
// code here does.
//
// It reads syntax only, without types, so it may be fooled by somebody who
// wants to fool it. Generated files (_gen.go) are not looked at. The tree
// itself is checked by this package's test.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// Module is the import path of the source tree.
const Module = "github.com/legate-project/legate"

// The budgets. Tests are exempt from them: tables of cases are long.
const (
	MaxFunction   = 70   // lines from func to the closing brace
	MaxFile       = 600  // lines
	MaxPackage    = 3500 // lines of all files
	MaxParameters = 5    // without the receiver
)

// Finding is one broken rule.
type Finding struct {
	File string // path below the module's root
	Line int    // 0 if it is about the whole file or package
	Text string
}

// String is the form that compilers use.
func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// file is one parsed file.
type file struct {
	path    string // below the root, with slashes
	pkg     string // its directory; "." is the root
	test    bool
	lines   int
	syntax  *ast.File
	fset    *token.FileSet
	imports map[string]string // name in the file → import path
}

func (f *file) finding(pos token.Pos, format string, args ...any) Finding {
	return Finding{File: f.path, Line: f.fset.Position(pos).Line, Text: fmt.Sprintf(format, args...)}
}

// Tree checks all packages below a directory that is the module's root.
func Tree(root string) ([]Finding, error) {
	sources := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if skipDir(rel, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_gen.go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		sources[rel] = string(text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the source tree: %w", err)
	}
	return Sources(sources)
}

// skipDir passes over what is no code of ours.
func skipDir(rel, name string) bool {
	return rel != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" ||
		name == "bin" || name == "dist")
}

// Sources checks files given as path → text. The findings are in the order of
// their places.
func Sources(sources map[string]string) ([]Finding, error) {
	var files []*file
	for p, text := range sources {
		f, err := parse(p, text)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	sort.Slice(files, func(i, j int) bool { return files[i].path < files[j].path })
	var found []Finding
	for _, f := range files {
		for _, check := range []func(*file) []Finding{
			sizes, goStatements, sleeps, inits, clocks, errorTexts, marks, names, logKeys,
		} {
			found = append(found, check(f)...)
		}
	}
	found = append(found, packages(files)...)
	found = append(found, imports(files)...)
	found = append(found, state(files)...)
	sort.SliceStable(found, func(i, j int) bool {
		if found[i].File != found[j].File {
			return found[i].File < found[j].File
		}
		return found[i].Line < found[j].Line
	})
	return found, nil
}

func parse(p, text string) (*file, error) {
	fset := token.NewFileSet()
	// Object resolution is what tells local names from package-level ones.
	syntax, err := parser.ParseFile(fset, p, text, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	f := &file{path: p, pkg: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), syntax: syntax, fset: fset,
		lines: strings.Count(text, "\n"), imports: map[string]string{}}
	for _, spec := range syntax.Imports {
		target := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(target)
		if strings.HasPrefix(name, "v") && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(target)) // a major version is no name
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		f.imports[name] = target
	}
	return f, nil
}

// called returns the import path and name of pkg.Name, if e is that.
func (f *file) called(e ast.Expr) (pkg, name string) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok || f.local(id) { // a local name hides the import
		return "", ""
	}
	return f.imports[id.Name], sel.Sel.Name
}

// functions calls do for each function and method with a body.
func (f *file) functions(do func(*ast.FuncDecl)) {
	for _, d := range f.syntax.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			do(fn)
		}
	}
}

package lint

import (
	"fmt"
	"go/ast"
	"go/token"
)

// packages keeps packages small and explained.
func packages(files []*file) []Finding {
	lines, explained, first := map[string]int{}, map[string]bool{}, map[string]string{}
	var order []string
	for _, f := range files {
		if f.test {
			continue
		}
		if first[f.pkg] == "" {
			first[f.pkg] = f.path
			order = append(order, f.pkg)
		}
		lines[f.pkg] += f.lines
		explained[f.pkg] = explained[f.pkg] || f.syntax.Doc != nil
	}
	var found []Finding
	for _, pkg := range order {
		if lines[pkg] > MaxPackage {
			found = append(found, Finding{File: first[pkg], Text: fmt.Sprintf("package %s has %d lines: at most %d", pkg, lines[pkg], MaxPackage)})
		}
		if !explained[pkg] {
			found = append(found, Finding{File: first[pkg], Text: fmt.Sprintf("package %s has no comment that says what it promises", pkg)})
		}
	}
	return found
}

// state finds mutable package-level state: variables that are assigned to, or
// that hold something made to change.
func state(files []*file) []Finding {
	vars := map[string]map[string]bool{} // package → names of its variables
	for _, f := range files {
		if f.test {
			continue
		}
		if vars[f.pkg] == nil {
			vars[f.pkg] = map[string]bool{}
		}
		for _, spec := range packageVars(f) {
			for _, name := range spec.Names {
				vars[f.pkg][name.Name] = true
			}
		}
	}
	var found []Finding
	for _, f := range files {
		if f.test {
			continue
		}
		for _, spec := range packageVars(f) {
			if f.madeToChange(spec) {
				found = append(found, f.finding(spec.Pos(), "package-level variable %s is made to change: give it an owner", spec.Names[0].Name))
			}
		}
		found = append(found, assignments(f, vars[f.pkg])...)
	}
	return found
}

func packageVars(f *file) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, d := range f.syntax.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, s := range gen.Specs {
			if spec, ok := s.(*ast.ValueSpec); ok && spec.Names[0].Name != "_" {
				specs = append(specs, spec)
			}
		}
	}
	return specs
}

// madeToChange finds locks, atomics and empty maps or channels.
func (f *file) madeToChange(spec *ast.ValueSpec) bool {
	if pkg, _ := f.called(spec.Type); pkg == "sync" || pkg == "sync/atomic" {
		return true
	}
	for _, value := range spec.Values {
		switch v := value.(type) {
		case *ast.CallExpr:
			if id, ok := v.Fun.(*ast.Ident); ok && id.Name == "make" {
				return true
			}
		case *ast.CompositeLit:
			if pkg, _ := f.called(v.Type); pkg == "sync" || pkg == "sync/atomic" {
				return true
			}
			if _, isMap := v.Type.(*ast.MapType); isMap && len(v.Elts) == 0 {
				return true
			}
		}
	}
	return false
}

// assignments finds assignments to the package's variables, also to their
// elements and fields.
func assignments(f *file, vars map[string]bool) []Finding {
	var found []Finding
	report := func(e ast.Expr) {
		id := root(e)
		if id == nil || !vars[id.Name] || f.local(id) {
			return
		}
		found = append(found, f.finding(e.Pos(), "package-level variable %s is assigned to: give it an owner", id.Name))
	}
	f.functions(func(fn *ast.FuncDecl) {
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						report(e)
					}
				}
			case *ast.IncDecStmt:
				report(n.X)
			}
			return true
		})
	})
	return found
}

// root is the variable at the beginning of a.b[c].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// local says whether a name was declared inside a function. The parser
// resolves names within a file; what it leaves open is of another file.
func (f *file) local(id *ast.Ident) bool {
	return id.Obj != nil && f.syntax.Scope.Lookup(id.Name) != id.Obj
}

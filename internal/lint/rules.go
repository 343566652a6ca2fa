package lint

import (
	"go/ast"
	"go/token"
	"strings"
)

// sizes keeps functions, files and lists of parameters short.
func sizes(f *file) []Finding {
	if f.test {
		return nil
	}
	var found []Finding
	if f.lines > MaxFile {
		found = append(found, Finding{File: f.path, Text: "has more than 600 lines: split it by what it does"})
	}
	f.functions(func(fn *ast.FuncDecl) {
		lines := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
		if lines > MaxFunction {
			found = append(found, f.finding(fn.Pos(), "%s has %d lines: at most %d", fn.Name.Name, lines, MaxFunction))
		}
		if n := fn.Type.Params.NumFields(); n > MaxParameters && !imposed(fn) {
			found = append(found, f.finding(fn.Pos(), "%s has %d parameters: at most %d, make a struct", fn.Name.Name, n, MaxParameters))
		}
	})
	return found
}

// imposed says whether an interface of another module sets the parameters: the
// comment says "implements pkg.Name".
func imposed(fn *ast.FuncDecl) bool {
	_, after, ok := strings.Cut(fn.Doc.Text(), "implements ")
	name, _, _ := strings.Cut(after, " ")
	return ok && fn.Recv != nil && strings.Contains(strings.TrimSuffix(strings.TrimSpace(name), "."), ".")
}

// goStatements keeps goroutines with their one owner.
func goStatements(f *file) []Finding {
	if f.test || f.pkg == "internal/lifecycle" {
		return nil
	}
	var found []Finding
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if stmt, ok := n.(*ast.GoStmt); ok {
			found = append(found, f.finding(stmt.Pos(), "go statement: goroutines are started through internal/lifecycle"))
		}
		return true
	})
	return found
}

// sleeps keeps tests from waiting for time to pass.
func sleeps(f *file) []Finding {
	if !f.test {
		return nil
	}
	var found []Finding
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok {
			if pkg, name := f.called(e); pkg == "time" && name == "Sleep" {
				found = append(found, f.finding(e.Pos(), "time.Sleep in a test: wait for an event, or use testing/synctest"))
			}
		}
		return true
	})
	return found
}

func inits(f *file) []Finding {
	var found []Finding
	f.functions(func(fn *ast.FuncDecl) {
		if fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, f.finding(fn.Pos(), "init function: nothing happens before main"))
		}
	})
	return found
}

// clocks keeps the state machine deterministic: time and randomness are fixed
// by prepare functions, on the leader.
func clocks(f *file) []Finding {
	if f.test || (f.pkg != "state" && !strings.HasPrefix(f.pkg, "state/")) {
		return nil
	}
	var found []Finding
	f.functions(func(fn *ast.FuncDecl) {
		if strings.HasPrefix(strings.ToLower(fn.Name.Name), "prepare") {
			return
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			if pkg, name := f.called(e); differs(pkg, name) {
				found = append(found, f.finding(e.Pos(), "%s.%s in %s: clocks and randomness belong in prepare functions", pkg, name, fn.Name.Name))
			}
			return true
		})
	})
	return found
}

// differs says whether a function gives different answers on different servers.
func differs(pkg, name string) bool {
	switch pkg {
	case "math/rand", "math/rand/v2", "crypto/rand":
		return true
	case "github.com/google/uuid":
		return strings.HasPrefix(name, "New")
	case "time":
		switch name {
		case "Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep":
			return true
		}
	}
	return false
}

// errorTexts keeps code from recognising an error by its text.
func errorTexts(f *file) []Finding {
	if f.test {
		return nil
	}
	const text = "an error is recognised by its text: use errors.Is or errors.As"
	var found []Finding
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			pkg, _ := f.called(n.Fun)
			for _, arg := range n.Args {
				if (pkg == "strings" || pkg == "regexp") && isErrorText(arg) {
					found = append(found, f.finding(n.Pos(), text))
				}
			}
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Match") && len(n.Args) == 1 && isErrorText(n.Args[0]) {
				found = append(found, f.finding(n.Pos(), text))
			}
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && (isErrorText(n.X) || isErrorText(n.Y)) {
				found = append(found, f.finding(n.Pos(), text))
			}
		case *ast.SwitchStmt:
			if n.Tag != nil && isErrorText(n.Tag) {
				found = append(found, f.finding(n.Pos(), text))
			}
		}
		return true
	})
	return found
}

// isErrorText finds x.Error(), also inside conversions and calls such as
// strings.ToLower.
func isErrorText(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Error" && len(call.Args) == 0 {
		return true
	}
	for _, arg := range call.Args {
		if isErrorText(arg) {
			return true
		}
	}
	return false
}

// marks keeps notes about unfinished work out of comments: finish it, or plan
// it where plans are.
func marks(f *file) []Finding {
	var found []Finding
	for _, group := range f.syntax.Comments {
		for _, comment := range group.List {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"} {
				if hasWord(comment.Text, word) {
					found = append(found, f.finding(comment.Pos(), "%s in a comment: do it or plan it", word))
				}
			}
		}
	}
	return found
}

func hasWord(text, word string) bool {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') }) {
		if w == word {
			return true
		}
	}
	return false
}

// names keeps names that say nothing out of packages and types.
func names(f *file) []Finding {
	empty := []string{"Manager", "Helper", "Util", "Common", "Misc"}
	var found []Finding
	for _, word := range empty {
		if name := f.syntax.Name.Name; name == strings.ToLower(word) || name == strings.ToLower(word)+"s" {
			found = append(found, f.finding(f.syntax.Name.Pos(), "package %s: the name says nothing", name))
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		for _, word := range empty {
			if strings.HasSuffix(spec.Name.Name, word) || strings.HasSuffix(spec.Name.Name, word+"s") {
				found = append(found, f.finding(spec.Pos(), "type %s: the name says nothing", spec.Name.Name))
			}
		}
		return true
	})
	return found
}

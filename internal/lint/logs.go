package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
)

// logKeys keeps the attributes of lines of logs apart from those that each line
// begins with, and written alike (docs/design/logs.md).
func logKeys(f *file) []Finding {
	if f.test || f.pkg == "internal/logging" {
		return nil
	}
	plain := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	var found []Finding
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		first, with, ok := logCall(call)
		if !ok {
			return true
		}
		for i := first; i < len(call.Args); i += 2 {
			lit, ok := call.Args[i].(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				break // made elsewhere
			}
			key, err := strconv.Unquote(lit.Value)
			switch {
			case err != nil:
			case key == "node" || key == "datacenter" || key == "time" || key == "level" || key == "msg" || key == "component" && !with:
				found = append(found, f.finding(lit.Pos(), "%q is what each line of a log begins with: name the attribute otherwise (server, member, peer_datacenter)", key))
			case !plain.MatchString(key):
				found = append(found, f.finding(lit.Pos(), "%q is no key of a log: lower case and underscores", key))
			}
		}
		return true
	})
	return found
}

// logCall says whether a call writes a line or narrows a logger, where its keys
// begin, and which of the two.
func logCall(call *ast.CallExpr) (first int, with, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return 0, false, false
	}
	name := ""
	switch x := method.X.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	switch name {
	case "log", "Log", "logger", "Logger":
	default:
		return 0, false, false
	}
	switch method.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		return 1, false, true
	case "Log":
		return 3, false, true
	case "With":
		return 0, true, true
	}
	return 0, false, false
}

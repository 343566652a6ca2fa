package rules

import (
	"fmt"
	"strings"
)

// Text writes the rules as HCL, in their order. Intentions are written beside the
// service that they belong to.
func (p *Policy) Text() string {
	type match struct {
		prefix bool
		name   string
	}
	intentions := map[match]Access{}
	for _, r := range p.Rules {
		if r.Resource == Intention {
			intentions[match{r.Prefix, r.Name}] = r.Access
		}
	}
	var b strings.Builder
	for _, r := range p.Rules {
		word := string(r.Resource)
		if r.Prefix {
			word += "_prefix"
		}
		switch {
		case r.Resource == Intention:
		case !named(r.Resource):
			fmt.Fprintf(&b, "%s = %q\n", word, r.Access)
		default:
			fmt.Fprintf(&b, "%s %s {\n  policy = %q\n", word, quote(r.Name), r.Access)
			if a, ok := intentions[match{r.Prefix, r.Name}]; ok && r.Resource == Service {
				fmt.Fprintf(&b, "  intentions = %q\n", a)
			}
			b.WriteString("}\n")
		}
	}
	return b.String()
}

// quote writes a name as HCL reads it: ${ would begin an expression, and a zero byte as such is refused.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\x00", `\u0000`, "${", `\u0024{`).Replace(name) + `"`
}

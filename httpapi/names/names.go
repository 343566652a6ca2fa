// Package names answers over HTTP what the DNS interface of the agent answers, and why.
package names

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/miekg/dns"

	"github.com/legate-project/legate/dns/explained"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl/rules"
)

// maxName is how long a name may be, in bytes without a dot at its end (RFC 1035, section 3.1).
const maxName = 253

// Explainer explains answers of DNS. Rights are those of the lookups that an answer takes.
type Explainer interface {
	Explain(ctx context.Context, q explained.Question) (*explained.Explanation, error)
}

// API is what the area depends on.
type API struct {
	// Explainer returns nil where the agent has no DNS interface.
	Explainer func() Explainer
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{{Path: "/v1/dns/explain/", Get: a.explain}}
}

func (a *API) explain(x *rest.Exchange) error {
	name, err := x.Argument("Missing the name: /v1/dns/explain/NAME")
	if err != nil {
		return err
	}
	if _, ok := dns.IsDomainName(name); !ok || len(strings.TrimSuffix(name, ".")) > maxName {
		return invalid("%.300q is no name of DNS: parts of 1 to 63 bytes with dots between them, %d bytes in all", name, maxName)
	}
	text := strings.ToUpper(x.Get("type"))
	if text == "" {
		text = "A"
	}
	qtype, ok := dns.StringToType[text]
	if !ok || qtype == dns.TypeAXFR || qtype == dns.TypeIXFR || qtype == dns.TypeOPT || qtype == dns.TypeNone {
		return invalid("%.32q is no type of records: those that names here have are A, AAAA, SRV, TXT, PTR, NS and SOA; ANY is all of them", text)
	}
	rights, err := x.Authorizer()
	if err != nil { // a token that stands for nothing would seem to see nothing
		return err
	}
	sees := func(service string) bool { return rights.Allow(rules.Service, rules.Read, service) }
	var e Explainer
	if a.Explainer != nil {
		e = a.Explainer()
	}
	if e == nil {
		return rest.Reasoned(http.StatusNotFound, "not-found", "This agent has no DNS interface (ports.dns): ask another one")
	}
	out, err := e.Explain(x.Ctx, explained.Question{Name: name, Type: qtype, Token: x.Token(), From: rest.AddrOf(x.R.RemoteAddr), Sees: sees})
	if err != nil {
		return err
	}
	out.Truncated = rest.Some(out.Truncated)
	x.Hidden(out.Filtered)
	return x.JSON(out)
}

func invalid(format string, args ...any) error {
	return rest.Reasoned(http.StatusBadRequest, "invalid", fmt.Sprintf(format, args...))
}

package httpapi

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl/rules"
)

// front is what belongs to no area.
type front struct{ cfg *Config }

// rows are its routes.
func (f *front) rows() []rest.Route {
	return []rest.Route{
		{Path: "/", Get: f.root},
		{Path: "/robots.txt", Get: robots},
		{Path: "/metrics", Get: rest.Needs(rules.Agent, rules.Read, f.prometheusMetrics)},
		{Path: "/debug/pprof/", Get: rest.Needs(rules.Operator, rules.Read, f.debugProfile)},
	}
}

// root leads people to the web interface, as Consul's does.
func (f *front) root(x *rest.Exchange) error {
	if f.cfg.UI.Enabled {
		x.W.Header().Set("Location", f.cfg.UI.ContentPath)
		x.Empty(http.StatusTemporaryRedirect)
		return nil
	}
	return x.Text(http.StatusOK, "Legate agent "+f.cfg.NodeName+" of datacenter "+f.cfg.Datacenter+". The API is below /v1/.\n")
}

func robots(x *rest.Exchange) error { return x.Text(http.StatusOK, "User-agent: *\nDisallow: /\n") }

func (f *front) prometheusMetrics(x *rest.Exchange) error { return x.Delegate(f.cfg.Metrics) }

// maxProfile bounds how long a profile or trace may run.
const maxProfile = 10 * time.Minute

// debugProfile answers the run-time profiles of net/http/pprof, one at a time
// for those that take a while, if the configuration allows it. With access control, who
// may read about the datacenter may have them in any case.
func (f *front) debugProfile(x *rest.Exchange) error {
	if !f.cfg.ACL.Enabled && (f.cfg.Debug == nil || !f.cfg.Debug()) {
		return rest.Refuse(http.StatusForbidden, "Profiles are not served by this agent: set enable_debug = true in its configuration")
	}
	switch x.Rest {
	case "cmdline": // arguments may hold secrets
		return rest.Refuse(http.StatusForbidden, "The command line is not shown")
	case "symbol":
		return x.Delegate(http.HandlerFunc(pprof.Symbol))
	}
	seconds := x.Get("seconds")
	if seconds != "" { // of all others, too: what changed meanwhile
		if n, err := strconv.ParseFloat(seconds, 64); err != nil || !(n > 0 && n <= maxProfile.Seconds()) {
			return rest.Refuse(http.StatusBadRequest, "Invalid value for ?seconds: want a number above 0 and at most "+strconv.Itoa(int(maxProfile.Seconds())))
		}
	}
	x.Waits = seconds != "" || x.Rest == "profile" || x.Rest == "trace" // its time says nothing about the server
	switch x.Rest {
	case "trace":
		return x.Delegate(http.HandlerFunc(pprof.Trace))
	case "profile":
		return x.Delegate(http.HandlerFunc(pprof.Profile))
	}
	return x.Delegate(http.HandlerFunc(pprof.Index))
}

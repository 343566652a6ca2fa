package httpapi

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"
)

// maxProfile bounds how long a profile or trace may run.
const maxProfile = 10 * time.Minute

// debugProfile answers the run-time profiles of net/http/pprof, one at a time
// for those that take a while, if the configuration allows it.
func debugProfile(x *exchange) error {
	if x.s.cfg.Debug == nil || !x.s.cfg.Debug() {
		return refuse(http.StatusForbidden, "Profiles are not served by this agent: set enable_debug = true in its configuration")
	}
	switch x.rest {
	case "cmdline": // arguments may hold secrets
		return refuse(http.StatusForbidden, "The command line is not shown")
	case "symbol":
		return x.delegate(http.HandlerFunc(pprof.Symbol))
	case "profile", "trace":
		if text := x.get("seconds"); text != "" {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || n <= 0 || n > maxProfile.Seconds() {
				return refuse(http.StatusBadRequest, "Invalid value for ?seconds: want a number above 0 and at most "+strconv.Itoa(int(maxProfile.Seconds())))
			}
		}
		x.waits = true // its time says nothing about the server
		if x.rest == "trace" {
			return x.delegate(http.HandlerFunc(pprof.Trace))
		}
		return x.delegate(http.HandlerFunc(pprof.Profile))
	}
	return x.delegate(http.HandlerFunc(pprof.Index))
}

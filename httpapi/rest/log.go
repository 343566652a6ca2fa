package rest

import (
	"log/slog"
	"strings"
	"time"
)

// maxShown bounds what the log shows of a request's path and of its parameters,
// in bytes each.
const maxShown = 512

// hiddenText stands in the log for what may be secret.
const hiddenText = "hidden"

// log writes a line of the exchange at the level debug: without tokens, without
// bodies, and without what a parameter holds that may be secret. While nobody
// listens at that level it looks at the level and does nothing.
func (x *Exchange) log() {
	if !x.api.log.Enabled(x.Ctx, slog.LevelDebug) {
		return
	}
	x.api.log.LogAttrs(x.Ctx, slog.LevelDebug, "request",
		slog.String("method", cut(x.R.Method, 16)), slog.String("url", shownPath(x.R.URL.Path)+x.shownParams()),
		slog.Int("status", x.status), slog.Duration("took", time.Since(x.start).Round(time.Microsecond)), slog.String("from", x.R.RemoteAddr))
}

// withSecret are paths behind which the ID of a token stands, as they are now and
// as they were when that was the token itself.
func withSecret() []string {
	return []string{"/v1/acl/token/", "/v1/acl/info/", "/v1/acl/clone/", "/v1/acl/destroy/", "/v1/acl/update/"}
}

// shownPath is a path without what may be secret.
func shownPath(path string) string {
	for _, prefix := range withSecret() {
		if i := strings.Index(path, prefix); i >= 0 && path != prefix+"self" { // behind doubled slashes, too
			return cut(path[:i+len(prefix)], maxShown) + hiddenText
		}
	}
	return cut(path, maxShown)
}

// shownParams is the query string with the values of those parameters that cannot
// be secret.
func (x *Exchange) shownParams() string {
	if len(x.params) == 0 {
		return ""
	}
	var b strings.Builder
	for i, p := range x.params {
		if b.Len() > maxShown {
			b.WriteString("&…")
			break
		}
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(cut(p.key, maxShown))
		switch {
		case p.value == "":
		case harmless(p.key):
			b.WriteString("=" + cut(p.value, maxShown))
		default:
			b.WriteString("=" + hiddenText)
		}
	}
	return b.String()
}

// harmless reports whether the values of a parameter may stand in a log.
func harmless(name string) bool {
	switch name {
	case "dc", "datacenter", "index", "wait", "stale", "max_stale", "consistent", "leader", "cached", "near", "node-meta", "pretty",
		"recurse", "keys", "separator", "seperator", "raw", "flags", "cas", "passing", "tag", "limit", "node", "service", "name",
		"wan", "all", "prune", "segment", "ns", "partition", "peer", "enable", "replace-existing-checks", "loglevel", "logjson", "format", "seconds", "hash":
		return true
	}
	return false
}

// cut returns at most n bytes of a text, and says when it was longer.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

package config

import (
	"fmt"
	"net/url"
	"time"
)

// minDeregister is the shortest deregister_critical_service_after that means
// anything: the agent looks no more often than this.
const minDeregister = time.Minute

// checkDefinitions looks at services and checks: what they need, and that no
// two have the same ID.
func (f *finisher) checkDefinitions() {
	services := map[string]bool{}
	for i := range f.cfg.Services {
		s := &f.cfg.Services[i]
		key := fmt.Sprintf("services[%d]", i)
		if s.Name == "" {
			f.fault(key, "a service needs a name")
			continue
		}
		id := firstOf(s.ID, s.Name)
		if services[id] {
			f.fault(key, "the ID %q is given twice", id)
		}
		services[id] = true
		f.checkService(key, s)
	}
	checks := map[string]bool{}
	for i := range f.cfg.Checks {
		c := &f.cfg.Checks[i]
		key := fmt.Sprintf("checks[%d]", i)
		id := firstOf(c.ID, c.Name)
		if id == "" {
			f.fault(key, "a check needs a name or an id")
			continue
		}
		if checks[id] {
			f.fault(key, "the ID %q is given twice", id)
		}
		checks[id] = true
		f.checkCheck(key, fmt.Sprintf("check %q", id), c)
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (f *finisher) checkService(key string, s *ServiceDefinition) {
	at := fmt.Sprintf("service %q", s.Name)
	if s.Port < 0 || s.Port > 65535 {
		f.fault(key, "%s: port %d is no port", at, s.Port)
	}
	if s.SocketPath != "" && (s.Address != "" || s.Port != 0) {
		f.fault(key, "%s: socket_path excludes address and port", at)
	}
	if s.Address != "" && isAny(s.Address) {
		f.fault(key, "%s: the address %s cannot be reached by others", at, s.Address)
	}
	if w := s.Weights; w != nil && (w.Passing < 1 || w.Warning < 0 || w.Passing > 65535 || w.Warning > 65535) {
		f.fault(key, "%s: weights must be 1 to 65535 for passing and 0 to 65535 for warning", at)
	}
	f.checkMeta(key, s.Meta)
	for i := range s.Checks {
		f.checkCheck(key, fmt.Sprintf("%s: check %d", at, i+1), &s.Checks[i])
	}
}

// kinds names what a definition sets of the keys that choose a check's kind.
func (c *CheckDefinition) kinds() []string {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"args", len(c.Args) > 0}, {"http", c.HTTP != ""}, {"tcp", c.TCP != ""}, {"udp", c.UDP != ""},
		{"grpc", c.GRPC != ""}, {"h2ping", c.H2Ping != ""}, {"ttl", c.TTL != 0},
		{"os_service", c.OSService != ""}, {"alias", c.AliasNode != "" || c.AliasService != ""},
	} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	return kinds
}

func (f *finisher) checkCheck(key, at string, c *CheckDefinition) {
	kinds := c.kinds()
	switch {
	case len(kinds) == 0:
		f.fault(key, "%s: sets none of args, http, tcp, udp, grpc, h2ping, ttl, os_service, alias_node, alias_service", at)
		return
	case len(kinds) > 1:
		f.fault(key, "%s: sets %s and %s, only one may be set", at, kinds[0], kinds[1])
	}
	kind := kinds[0]
	if c.DockerContainerID != "" && kind != "args" {
		f.fault(key, "%s: docker_container_id needs args, the command to run in the container", at)
	}
	if kind != "ttl" && kind != "alias" && c.Interval <= 0 {
		f.fault(key, "%s: needs an interval above 0", at)
	}
	if kind == "ttl" && c.Interval != 0 {
		f.fault(key, "%s: sets ttl and interval, only one may be set", at)
	}
	if c.TTL < 0 || c.Timeout < 0 || c.DeregisterCriticalServiceAfter < 0 {
		f.fault(key, "%s: ttl, timeout and deregister_critical_service_after cannot be negative", at)
	}
	if d := c.DeregisterCriticalServiceAfter; d > 0 && d < minDeregister {
		f.note(key, "%s: deregister_critical_service_after below %s works as %s", at, minDeregister, minDeregister)
	}
	if kind == "http" {
		if u, err := url.Parse(c.HTTP); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			f.fault(key, "%s: http wants a URL that begins with http:// or https://", at)
		}
	}
	if kind == "args" && !f.cfg.EnableScriptChecks && !f.cfg.EnableLocalScriptChecks {
		f.fault(key, "%s: scripts are disabled on this agent; set enable_local_script_checks or enable_script_checks to true", at)
	}
	switch c.Status {
	case "", "passing", "warning", "critical":
	default:
		f.fault(key, "%s: status %q must be passing, warning or critical", at, c.Status)
	}
	if c.SuccessBeforePassing < 0 || c.FailuresBeforeWarning < 0 || c.FailuresBeforeCritical < 0 || c.OutputMaxSize < 0 {
		f.fault(key, "%s: counts and sizes cannot be negative", at)
	}
}

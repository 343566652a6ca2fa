package local

import (
	"errors"
	"testing"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog/mesh"
)

func withSidecar(name, text string) config.ServiceDefinition {
	return config.ServiceDefinition{Name: name, Port: 80, Tags: []string{"t"}, Meta: map[string]string{"m": "v"},
		Connect: mesh.Connect{SidecarService: mesh.FreeForm(text)}}
}

// A sidecar is a service of its own: it comes with its service, over a restart
// too, and goes with it.
func TestSidecars(t *testing.T) {
	dir := t.TempDir()
	ports := func(c *Config) { c.Dir, c.SidecarPorts = dir, [2]int{21000, 21001} }
	s := start(t, newDatacenter(t), ports)
	must(t, s.AddService(withSidecar("web", `{}`)))
	must(t, s.AddService(withSidecar("api", `{"port":9000,"name":"other","tags":["own"],"checks":[{"name":"c","ttl":"1m"}],"proxy":{"upstreams":[{"destination_name":"web"}]}}`)))
	look := func(s *State) {
		t.Helper()
		all := s.Services()
		side := all["web-sidecar-proxy"]
		if p := &side.Proxy; side.Service != "web-sidecar-proxy" || side.Kind != mesh.ConnectProxy || side.Port != 21000 || p.DestinationServiceName != "web" ||
			p.DestinationServiceID != "web" || p.LocalServiceAddress != "127.0.0.1" || p.LocalServicePort != 80 || side.Tags[0] != "t" || side.Meta["m"] != "v" {
			t.Errorf("%+v", side)
		}
		if web := all["web"]; web.Connect.SidecarService != nil || len(all) != 4 {
			t.Errorf("%d services, %+v", len(all), web)
		}
		own := all["api-sidecar-proxy"]
		if own.Service != "other" || own.Port != 9000 || own.Tags[0] != "own" || len(own.Proxy.Upstreams) != 1 {
			t.Errorf("%+v", own)
		}
		checks := s.Checks()
		tcp, alias := checks["service:web-sidecar-proxy:1"], checks["service:web-sidecar-proxy:2"]
		if tcp.Type != "tcp" || alias.Type != "alias" || tcp.ServiceName != "web-sidecar-proxy" || len(checks) != 3 {
			t.Errorf("%+v", checks)
		}
	}
	look(s)
	must(t, s.AddService(withSidecar("web", `{}`))) // again: the port stays
	look(s)
	must(t, s.Stop(t.Context()))
	s = start(t, newDatacenter(t), ports)
	look(s)
	must(t, s.RemoveService("api"))
	def := withSidecar("web", `{}`)
	def.Connect = mesh.Connect{}
	must(t, s.AddService(def)) // without it, it goes
	if all := s.Services(); len(all) != 1 {
		t.Errorf("left: %+v", all)
	}
	must(t, s.AddService(config.ServiceDefinition{Name: "web-sidecar-proxy", Port: 1})) // is somebody's own
	must(t, s.RemoveService("web"))
	if all := s.Services(); len(all) != 1 {
		t.Errorf("left: %+v", all)
	}
}

func TestSidecarsOfFiles(t *testing.T) {
	s := start(t, newDatacenter(t), func(c *Config) { c.SidecarPorts = [2]int{21000, 21001} })
	both := []config.ServiceDefinition{withSidecar("web", `{}`), withSidecar("api", `{}`)}
	must(t, s.Define(both, nil))
	all := s.Services()
	if all["web-sidecar-proxy"].Port != 21000 || all["api-sidecar-proxy"].Port != 21001 {
		t.Errorf("%+v", all)
	}
	must(t, s.Define(both, nil)) // a reload
	var refused *InvalidError
	if err := s.Define(append(both, withSidecar("more", `{}`)), nil); !errors.As(err, &refused) {
		t.Errorf("more sidecars than ports: %v", err)
	}
	if again := s.Services(); len(again) != 4 || again["api-sidecar-proxy"].Port != 21001 {
		t.Errorf("%+v", again)
	}
	must(t, s.Define(nil, nil))
	if left := s.Services(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestWhatNoSidecarCanBe(t *testing.T) {
	s := start(t, newDatacenter(t), func(c *Config) { c.SidecarPorts = [2]int{21000, 21001} })
	for what, text := range map[string]string{
		"an ID":           `{"ID":"mine"}`,
		"a sidecar of it": `{"Connect":{"SidecarService":{}}}`,
		"another kind":    `{"Kind":"mesh-gateway"}`,
		"a wrong type":    `{"Port":"x"}`,
		"a wrong port":    `{"Port":70000}`,
		"a check of none": `{"Check":{"Name":"x"}}`,
	} {
		var refused *InvalidError
		if err := s.AddService(withSidecar("web", text)); !errors.As(err, &refused) || len(s.Services()) != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

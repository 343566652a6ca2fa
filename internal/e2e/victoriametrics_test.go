//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// target is what VictoriaMetrics tells of something that it scrapes.
type target struct {
	Labels    map[string]string `json:"labels"`
	ScrapeURL string            `json:"scrapeUrl"`
	Health    string            `json:"health"`
}

// victoriaMetrics lets VictoriaMetrics find what to scrape by asking an agent.
func victoriaMetrics(t *testing.T, p *pair) {
	path := program(t, "victoria-metrics")
	ip, dir := p.c1.host.Addr(3, 1), t.TempDir()
	config := filepath.Join(dir, "scrape.yml")
	must(t, "write the configuration", os.WriteFile(config, fmt.Appendf(nil, `
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: tagged
    consul_sd_configs:
      - server: %[1]s:8500
        services: [vm-web]
        tags: [scrape]
    relabel_configs:
      - {source_labels: [__meta_consul_service_id], target_label: id}
      - {source_labels: [__meta_consul_tags], target_label: tags}
      - {source_labels: [__meta_consul_dc], target_label: dc}
      - {source_labels: [__meta_consul_node], target_label: node}
      - {source_labels: [__meta_consul_service_metadata_path], target_label: __metrics_path__}
      - {source_labels: [__meta_consul_health], target_label: health}
  - job_name: other_datacenter
    consul_sd_configs:
      - server: %[1]s:8500
        datacenter: dc2
        services: [vm-far]
`, p.c1.ip), 0o600))
	addr := net.JoinHostPort(ip, "8428")
	proctest.StartTool(t, p.c1.host, "victoria-metrics", path, "-promscrape.config="+config, "-promscrape.consulSDCheckInterval=1s",
		"-httpListenAddr="+addr, "-storageDataPath="+filepath.Join(dir, "data"), "-retentionPeriod=1d", "-memory.allowedBytes=67108864",
		"-search.latencyOffset=1ms", "-search.disableCache")

	// What is scraped is the program's own listener, with a number on its page.
	pages := listenOn(t, p.c1)
	serve(t, pages, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "answer{path=%q} 42\n", r.URL.Path)
	})
	port := pages.Addr().(*net.TCPAddr).Port
	service := func(id string, tags ...string) *api.AgentServiceRegistration {
		return &api.AgentServiceRegistration{ID: id, Name: "vm-web", Address: p.c1.ip, Port: port, Tags: tags, Meta: map[string]string{"path": "/" + id}}
	}
	agent := p.c1.client.Agent()
	must(t, "register", agent.ServiceRegister(service("vm-1", "scrape", "blue")))
	must(t, "register", agent.ServiceRegister(service("vm-2", "scrape")))
	must(t, "register", agent.ServiceRegister(service("vm-3", "private")))
	must(t, "register", p.c2.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "vm-far", Address: p.c1.ip, Port: port}))

	web := &http.Client{Transport: p.c1.host.Transport()}
	t.Cleanup(web.CloseIdleConnections)
	scraped := func(want ...string) {
		t.Helper()
		proctest.Until(t, patience, fmt.Sprintf("VictoriaMetrics scrapes %q", want), func() error {
			targets, err := activeTargets(web, addr)
			if err != nil {
				return err
			}
			var up []string
			for _, x := range targets {
				if x.Labels["job"] == "tagged" && x.Health == "up" {
					up = append(up, x.Labels["id"])
				}
			}
			if slices.Sort(up); !slices.Equal(up, want) {
				return fmt.Errorf("it scrapes %q of %d targets", up, len(targets))
			}
			return nil
		})
	}
	scraped("vm-1", "vm-2")
	// The node's own check is critical for a moment where gossip finds nobody on a busy machine.
	proctest.Until(t, patience, "the labels of vm-1", func() error {
		targets, err := activeTargets(web, addr)
		for _, x := range targets {
			if l := x.Labels; l["id"] == "vm-1" && (l["tags"] != ",scrape,blue," || l["dc"] != "dc1" || l["node"] != "c1" || l["health"] != "passing") {
				return fmt.Errorf("they are %v", l)
			}
		}
		return err
	})
	number(t, web, addr, `answer{id="vm-1",path="/vm-1"}`, "42")
	number(t, web, addr, `up{job="other_datacenter"}`, "1")
	must(t, "deregister", agent.ServiceDeregister("vm-1"))
	scraped("vm-2")
	must(t, "register", agent.ServiceRegister(service("vm-3", "scrape")))
	scraped("vm-2", "vm-3")
	for _, id := range []string{"vm-2", "vm-3"} {
		must(t, "deregister", agent.ServiceDeregister(id))
	}
	scraped()
}

func serve(t *testing.T, l net.Listener, handle http.HandlerFunc) {
	t.Helper()
	server := &http.Server{Handler: handle}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

func fetch(web *http.Client, url string, into any) error {
	resp, err := web.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", url, resp.StatusCode, body)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func activeTargets(web *http.Client, addr string) ([]target, error) {
	var answer struct {
		Data struct {
			ActiveTargets []target `json:"activeTargets"`
		} `json:"data"`
	}
	err := fetch(web, "http://"+addr+"/api/v1/targets?state=active", &answer)
	return answer.Data.ActiveTargets, err
}

// number waits until a query's first series has a value.
func number(t *testing.T, web *http.Client, addr, query, want string) {
	t.Helper()
	proctest.Until(t, patience, query+" is "+want, func() error {
		var answer struct {
			Data struct {
				Result []struct{ Value []any }
			}
		}
		if err := fetch(web, "http://"+addr+"/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
			return err
		}
		r := answer.Data.Result
		if len(r) == 0 || len(r[0].Value) != 2 || strings.TrimSpace(fmt.Sprint(r[0].Value[1])) != want {
			return fmt.Errorf("the result is %v", r)
		}
		return nil
	})
}

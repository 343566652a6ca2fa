package browser

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/testcluster"
)

// TestPictures draws pages for the documentation into the folder that LEGATE_PICTURES names: of a
// federation in which two datacenters reach each other through a third and a check is critical.
func TestPictures(t *testing.T) {
	dir := os.Getenv("LEGATE_PICTURES")
	if dir == "" {
		t.Skip("make pictures draws them")
	}
	w := &world{browser: browse(t)}
	w.c = federate(t, testcluster.Spec{Datacenters: 5, Servers: 3, Regions: true, Shape: testcluster.Partial,
		Timing: agent.Timing{WAN: gossip.Timing{ProbeInterval: time.Second, ProbeTimeout: 700 * time.Millisecond, SuspicionMult: 3, PushPullInterval: 15 * time.Second}, CoordinatePeriod: 2 * time.Second}}) // those of the lab
	here := w.first()
	for i, name := range []string{"api", "billing", "cache", "checkout", "images", "search"} {
		for k, n := range w.c.Nodes() {
			if n.Server && (i+k)%2 == 0 {
				status, said := "passing", "HTTP GET http://10.1.2.3:80/health: 200 OK"
				if i == 3 && n.Datacenter == "dc2" {
					status, said = "critical", "HTTP GET http://10.1.2.3:80/health: 503 Service Unavailable Output: the database does not answer"
				}
				put(t, n, "catalog/register", registration("app-"+n.Name, name, status, said))
			}
		}
	}
	for _, key := range []string{"app/config", "app/limits", "app/feature/search", "deploy/version", "greeting"} {
		put(t, here, "kv/"+key, map[string]any{"replicas": 3, "region": "eu"})
	}
	tb := open(t, w.browser, "status of 500") // while datacenters find each other, and when one is cut off
	inAll := os.Getenv("LEGATE_PICTURES_ALL") != ""
	for _, p := range []struct{ file, path, wait string }{
		{"federation", "", `document.querySelectorAll('.map path.link.via').length > 0 && [...document.querySelectorAll('.list .said')].length === 5 && document.querySelector('.headline.good')`},
		{"services", "services", `[...document.querySelectorAll('.row')].some(r => r.innerText.startsWith('web') && r.querySelectorAll('.place').length === 5)`},
		{"service", "dc2/services/checkout", `document.querySelectorAll('.instance').length > 0 && document.querySelectorAll('.choice a').length > 1`},
		{"node", "dc1/nodes/dc1-server1", `document.querySelector('main').innerText.includes('Estimated')`},
		{"keys", "dc1/kv", `document.querySelectorAll('.row .main').length === 3`},
		{"key", "dc1/kv?key=app%2Fconfig", `(edit => document.querySelector('textarea') ? !window.written && (window.written = 1) && document.execCommand('insertText', false, '\n') && [...document.querySelectorAll('button')].find(b => b.innerText === 'Review change') !== undefined : edit?.click())([...document.querySelectorAll('main button')].find(b => b.innerText === 'Edit'))`},
		{"servers", "dc2/servers", `document.querySelectorAll('.list tbody tr').length === 3 && document.querySelector('.headline.good') && document.querySelectorAll('.pool .row').length > 15`},
	} {
		tb.goTo(address(here, p.path))
		tb.see(p.file, p.wait)
		for _, l := range looks() {
			tb.as(l)
			if l.name == "light" {
				tb.picture(filepath.Join(dir, p.file+".png"), false)
			} else if inAll {
				tb.picture(filepath.Join(dir, p.file+"-"+l.name+".png"), true)
			}
		}
		tb.as(looks()[0])
	}
	if err := w.c.Cut("dc3"); err != nil {
		t.Fatal(err)
	}
	tb.goTo(address(here, ""))
	tb.shows("dc3 is cut off")
	tb.as(looks()[1])
	tb.see("the map is drawn", `document.querySelectorAll('.map .broken').length === 1`)
	tb.picture(filepath.Join(dir, "federation-cut.png"), false)
}

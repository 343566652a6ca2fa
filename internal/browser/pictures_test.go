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

// pictured is a page that is drawn: the name of its file, its address, and what is true once it is whole.
type pictured struct{ file, path, whole string }

// album draws pages into a folder: as they are on a wide screen, and with all in each look.
type album struct {
	*tab
	dir string
	all bool
}

func (a album) draw(n *testcluster.Node, pages ...pictured) {
	a.t.Helper()
	for _, p := range pages {
		a.goTo(address(n, p.path))
		a.see(p.file, p.whole)
		for _, l := range looks() {
			a.as(l)
			if l.name == "light" {
				a.picture(filepath.Join(a.dir, p.file+".png"), false)
			} else if a.all {
				a.picture(filepath.Join(a.dir, p.file+"-"+l.name+".png"), true)
			}
		}
		a.as(looks()[0])
	}
}

// TestPictures draws pages for the documentation into the folder that LEGATE_PICTURES names: of a
// federation in which two datacenters reach each other through a third and a check is critical.
func TestPictures(t *testing.T) {
	dir := os.Getenv("LEGATE_PICTURES")
	if dir == "" {
		t.Skip("make pictures draws them")
	}
	inAll := os.Getenv("LEGATE_PICTURES_ALL") != ""
	w := &world{browser: browse(t)}
	t.Run("Federation", func(t *testing.T) {
		w.c = federate(t, testcluster.Spec{Datacenters: 5, Servers: 3, Regions: true, Shape: testcluster.Partial,
			Timing: agent.Timing{WAN: gossip.Timing{ProbeInterval: time.Second, ProbeTimeout: 700 * time.Millisecond, SuspicionMult: 3, PushPullInterval: 15 * time.Second}, CoordinatePeriod: 2 * time.Second}}) // those of the lab
		w.furnish(t)
		w.pictures(t, album{open(t, w.browser, "status of 500"), dir, inAll}) // while datacenters find each other, and when one is cut off
	})
	t.Run("Access", func(t *testing.T) {
		access := testcluster.NewAccess()
		c := federate(t, testcluster.Spec{Datacenters: 1, Servers: 1, Access: access})
		accessPictures(t, album{open(t, w.browser, "status of 403"), dir, inAll}, c.In("dc1")[0], access.Management)
	})
}

// edited is true once a value is being edited and a line was added.
const edited = `(text => {
	if (!text) [...document.querySelectorAll('main button')].find(b => b.innerText === 'Edit')?.click()
	else if (!window.written) {
		text.focus()
		window.written = document.execCommand('insertText', false, '\n')
	}
	return window.written && [...document.querySelectorAll('main button')].some(b => b.innerText === 'Review change')
})(document.querySelector('main textarea'))`

// furnish makes what the pages show: services, one of them critical in one datacenter, keys, a session that holds
// a lock, an event and a prepared query.
func (w *world) furnish(t *testing.T) {
	t.Helper()
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
	here := w.first()
	for _, key := range []string{"app/config", "app/limits", "app/feature/search", "deploy/version", "greeting"} {
		put(t, here, "kv/"+key, map[string]any{"replicas": 3, "region": "eu"})
	}
	lock := create(t, here, "", "session/create", map[string]any{"Name": "nightly backup", "LockDelay": "15s", "TTL": "3600s"})
	put(t, here, "kv/jobs/nightly?acquire="+lock, "runs on app-1")
	put(t, here, "event/fire/deploy", "web 2.4.1")
	create(t, here, "", "query", map[string]any{"Name": "checkout-anywhere",
		"Service": map[string]any{"Service": "checkout", "OnlyPassing": true, "Failover": map[string]any{"NearestN": 2}}})
}

func (w *world) pictures(t *testing.T, a album) {
	here := w.first()
	a.draw(here,
		pictured{"federation", "", `document.querySelectorAll('.map path.link.via').length > 0 && [...document.querySelectorAll('.list .said')].length === 5 && document.querySelector('.headline.good')`},
		pictured{"services", "services", `[...document.querySelectorAll('.row')].some(r => r.innerText.startsWith('web') && r.querySelectorAll('.place').length === 5)`},
		pictured{"service", "dc2/services/checkout", `document.querySelectorAll('.instance').length > 0 && document.querySelectorAll('.choice a').length > 1`},
		pictured{"instance", "dc2/services/web/instances/dc2-server1/web-1", `document.querySelector('main').innerText.includes('Checks')`},
		pictured{"nodes", "nodes", `document.querySelectorAll('.row .main').length > 10`},
		pictured{"node", "dc1/nodes/dc1-server1", `document.querySelector('main').innerText.includes('Estimated')`},
		pictured{"keys", "dc1/kv", `document.querySelectorAll('.row .main').length === 4`},
		pictured{"key", "dc1/kv?key=app%2Fconfig", edited},
		pictured{"servers", "dc2/servers", `document.querySelectorAll('.list tbody tr').length === 3 && document.querySelector('.headline.good') && document.querySelectorAll('.pool .row').length > 15`},
		pictured{"sessions", "dc1/sessions", `document.querySelector('main').innerText.includes('nightly backup')`},
		pictured{"events", "events", `document.querySelector('main').innerText.includes('deploy')`},
		pictured{"queries", "dc1/queries", `document.querySelector('main').innerText.includes('checkout-anywhere')`},
		pictured{"dns", "dns?name=checkout.service.dc2.consul&type=SRV", `document.querySelector('main .reasons')?.innerText.includes('2 critical')`},
		pictured{"agent", "agent", `document.querySelectorAll('main canvas').length > 3 && Date.now() - (window.opened ??= Date.now()) > 20000`}, // lines take a while
	)
	if err := w.c.Cut("dc3"); err != nil {
		t.Fatal(err)
	}
	a.goTo(address(here, ""))
	a.shows("dc3 is cut off")
	a.as(looks()[1])
	a.see("the map is drawn", `document.querySelectorAll('.map .broken').length === 1`)
	a.picture(filepath.Join(a.dir, "federation-cut.png"), false)
}

// accessPictures draws pages of access control, with a token of management.
func accessPictures(t *testing.T, a album, n *testcluster.Node, secret string) {
	made := func(path string, body map[string]any) string {
		t.Helper()
		return create(t, n, secret, "acl/"+path, body)
	}
	id := made("policy", map[string]any{"Name": "web-operators", "Description": "People who run the web tier",
		"Rules": "service_prefix \"web\" {\n  policy = \"write\"\n}\nnode_prefix \"\" {\n  policy = \"read\"\n}\nkey_prefix \"web/\" {\n  policy = \"write\"\n}\nkey_prefix \"web/secrets/\" {\n  policy = \"deny\"\n}\n"})
	made("role", map[string]any{"Name": "on-call", "Description": "Whoever is on call", "Policies": []any{map[string]any{"Name": "web-operators"}}})
	made("token", map[string]any{"Description": "deploys of the web tier", "Policies": []any{map[string]any{"Name": "web-operators"}}, "ExpirationTTL": "24h"})
	made("token", map[string]any{"Description": "pager of the week", "Roles": []any{map[string]any{"Name": "on-call"}}})
	a.goTo(address(n, ""))
	eval[bool](a.tab, `sessionStorage.setItem('legate.token', '`+secret+`'), true`)
	a.draw(n,
		pictured{"access", "dc1/acls/tokens", `document.querySelector('main').innerText.includes('pager of the week')`},
		pictured{"policy", "dc1/acls/policies/" + id, `document.querySelector('main textarea')?.value.includes('web/secrets') && document.querySelector('main').innerText.includes('read')`},
		pictured{"rights", "dc1/acls/self", `document.querySelector('main').innerText.includes('Rights of the whole')`},
	)
}

//go:build linux

package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// ec2 answers the one question of Amazon's API that finds instances by a tag.
type ec2 struct {
	mu        sync.Mutex
	instances map[string][]string // addresses by value of the tag "pool"
}

func (e *ec2) set(pool string, addrs ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instances[pool] = addrs
}

// ServeHTTP implements http.Handler.
func (e *ec2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	signed := strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDTEST/")
	if !signed || r.FormValue("Action") != "DescribeInstances" || r.FormValue("Filter.1.Name") != "tag:pool" {
		http.Error(w, "what is this?", http.StatusForbidden)
		return
	}
	type instance struct {
		ID      string `xml:"instanceId"`
		Private string `xml:"privateIpAddress"`
	}
	type reservation struct {
		ID        string     `xml:"reservationId"`
		Instances []instance `xml:"instancesSet>item"`
	}
	var answer struct {
		XMLName      xml.Name      `xml:"DescribeInstancesResponse"`
		Reservations []reservation `xml:"reservationSet>item"`
	}
	for i, addr := range e.instances[r.FormValue("Filter.1.Value.1")] {
		answer.Reservations = append(answer.Reservations, reservation{ID: fmt.Sprint("r-", i), Instances: []instance{{ID: fmt.Sprint("i-", i), Private: addr}}})
	}
	w.Header().Set("Content-Type", "text/xml")
	_ = xml.NewEncoder(w).Encode(answer) // who asks has gone otherwise
}

// TestAgentsFindEachOtherThroughACloud starts two servers and an agent that know
// only tags of instances: the first server finds itself alone until the cloud
// shows the others, and a server of another datacenter finds them by the WAN.
func TestAgentsFindEachOtherThroughACloud(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	cloud := &ec2{instances: map[string][]string{}}
	api := httptest.NewUnstartedServer(cloud)
	must(t, "listen where agents are", h.Inside(func() (err error) {
		api.Listener.Close()
		api.Listener, err = net.Listen("tcp", h.Addr(9, 1)+":0")
		return err
	}))
	api.Start()
	t.Cleanup(api.Close)
	const secret = "s3cret/of+the=test"
	entry := func(pool string) string {
		return fmt.Sprintf("provider=aws region=here endpoint=%s tag_key=pool tag_value=%s access_key_id=AKIDTEST secret_access_key=%q", api.URL, pool, secret)
	}
	a, b, c, far := h.Addr(1, 1), h.Addr(1, 2), h.Addr(1, 3), h.Addr(2, 1)
	cloud.set("dc1", a)
	first := start(t, spec{host: h, name: "a", dc: "dc1", ip: a, expect: 2, lan: []string{entry("dc1")}})
	first.WaitLine(0, patience, "no member answered", "provider=aws (and 6 keys)", "only this node is there")
	cloud.set("dc1", a, b)
	nodes := []*node{
		first,
		start(t, spec{host: h, name: "b", dc: "dc1", ip: b, expect: 2, lan: []string{entry("dc1")}}),
		start(t, spec{host: h, name: "c", dc: "dc1", ip: c, lan: []string{entry("dc1")}}),
		start(t, spec{host: h, name: "far", dc: "dc2", ip: far, expect: 1, wan: []string{entry("nobody"), entry("dc1")}}),
	}
	nodes[3].WaitLine(0, patience, "some entries gave no address", "nothing matches")
	for i, want := range []int{3, 3, 3, 1} {
		n := nodes[i]
		proctest.Until(t, patience, n.name+" has joined", func() error {
			members, err := n.client.Agent().Members(false)
			if err == nil && len(members) != want {
				err = fmt.Errorf("%d members, want %d", len(members), want)
			}
			return err
		})
	}
	proctest.Until(t, patience, "the other datacenter has joined", func() error {
		dcs, err := nodes[3].client.Catalog().Datacenters()
		if err == nil && len(dcs) != 2 {
			err = fmt.Errorf("datacenters %v", dcs)
		}
		return err
	})
	for _, n := range nodes {
		self, err := n.client.Agent().Self()
		must(t, "ask the agent about itself", err)
		shown, err := json.Marshal(self)
		must(t, "read what it says", err)
		for what, text := range map[string]string{"log": n.Since(0), "configuration": string(shown)} {
			if strings.Contains(text, secret) || strings.Contains(text, "AKIDTEST") {
				t.Errorf("%s shows the key in its %s", n.name, what)
			}
		}
	}
	r := proctest.Run(t, h, "agent", "-data-dir="+t.TempDir(), "-bind="+a, fmt.Sprintf("-retry-join=provider=nimbus key=%q", secret))
	if r.Code != 1 || !strings.Contains(r.Stderr, `unknown provider "nimbus": built in are aws, azure, digitalocean, gce, mdns`) || strings.Contains(r.Stderr, secret) {
		t.Errorf("an unknown provider: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

package testcluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/internal/wanem"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// far is three datacenters: dc2 is nearer to dc1 than dc3 is.
func far(t *testing.T) *testcluster.Cluster {
	t.Helper()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 1, Clients: 1, RTT: 40 * time.Millisecond})
	if err := c.SetLink("dc1", "dc3", wanem.Link{RTT: 120 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	return c
}

// shows has a service's only check in a datacenter be in a state, on a node named
// after the datacenter.
func shows(t *testing.T, c *testcluster.Cluster, dc, service, status string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	from := c.In(dc)[0].Agent().Caller()
	_, _, err := catalog.Register.Call(ctx, from, op.Header{}, &catalog.RegisterRequest{Datacenter: dc, Node: service + "-" + dc, Address: "10.0.0." + dc[2:],
		Service: &catalog.Service{ID: service, Service: service, Port: 80, Tags: []string{"in-" + dc}},
		Checks:  []catalog.Check{{CheckID: "c", Name: "c", ServiceID: service, Status: status}}})
	if err != nil {
		t.Fatalf("register %s in %s: %v", service, dc, err)
	}
}

// asked is the nodes of a service's healthy instances, and what became of asking
// each datacenter.
func asked(ctx context.Context, from op.Caller, h op.Header, req *catalog.ServiceRequest) (string, op.Meta, error) {
	list, meta, err := catalog.ListInstances.Call(ctx, from, h, req)
	if err != nil {
		return "", meta, err
	}
	var nodes []string
	for _, in := range *list {
		nodes = append(nodes, in.Node.Datacenter)
	}
	return strings.Join(nodes, " "), meta, nil
}

func states(m op.Meta) string {
	var out []string
	for _, o := range m.Outcomes {
		out = append(out, o.Datacenter+" "+o.State.String())
	}
	return strings.Join(out, ", ")
}

func healthy(service string, tags ...string) *catalog.ServiceRequest {
	return &catalog.ServiceRequest{Service: service, HealthyOnly: true, Tags: tags}
}

// answers waits until a question to several datacenters is answered so, from the
// server and from the client of dc1.
func answers(t *testing.T, c *testcluster.Cluster, within time.Duration, dc string, req *catalog.ServiceRequest, nodes, became string) {
	t.Helper()
	for _, n := range c.In("dc1") {
		for _, mode := range []op.Consistency{op.Default, op.Cached} {
			eventually(t, fmt.Sprintf("%s, %s in mode %d: %s from %s", n.Name, dc, mode, req.Service, nodes), within, func(ctx context.Context) error {
				got, meta, err := asked(ctx, n.Agent().Caller(), op.Header{Datacenter: dc, Consistency: mode}, req)
				if err != nil || got != nodes || became != "" && states(meta) != became {
					return fmt.Errorf("from %q (%s), %w", got, states(meta), err)
				}
				return nil
			})
		}
	}
}

func TestNearestAllAndLists(t *testing.T) {
	t.Parallel()
	c := far(t)
	for _, dc := range c.Datacenters() {
		shows(t, c, dc, "web", catalog.Passing)
	}
	shows(t, c, "dc3", "db", catalog.Warning)
	const slow = 30 * time.Second // round trips are looked at each 10 s
	answers(t, c, slow, op.All, healthy("web"), "dc1 dc2 dc3", "dc1 ok, dc2 ok, dc3 ok")
	answers(t, c, time.Second, op.Nearest, healthy("web"), "dc1", "dc1 ok")
	answers(t, c, time.Second, op.Nearest, healthy("web", "in-dc3"), "dc3", "dc1 ok, dc2 ok, dc3 ok")
	answers(t, c, time.Second, op.Nearest, healthy("db"), "dc3", "dc1 ok, dc2 ok, dc3 ok")
	answers(t, c, time.Second, op.Nearest, healthy("none"), "", "dc1 ok, dc2 ok, dc3 ok")
	answers(t, c, time.Second, "dc3,dc2", healthy("web"), "dc3 dc2", "dc3 ok, dc2 ok")
	answers(t, c, time.Second, "dc2>dc3", healthy("db"), "dc3", "dc2 ok, dc3 ok")
	answers(t, c, 5*time.Second, "dc2,dc9", healthy("web"), "dc2", "dc2 ok, dc9 unreachable")

	client := c.In("dc1")[1].Agent().Caller()
	if nodes, _, err := catalog.ListNodes.Call(t.Context(), client, op.Header{Datacenter: op.All}, &op.Empty{}); err != nil || len(*nodes) != 10 {
		t.Errorf("nodes of all: %v %v", nodes, err)
	}
	if n, meta, err := catalog.GetNode.Call(t.Context(), client, op.Header{Datacenter: op.Nearest}, &catalog.NodeRequest{Node: "db-dc3"}); err != nil || n == nil || n.Datacenter != "dc3" {
		t.Errorf("a node of dc3: %v %s %v", n, states(meta), err)
	}
	if tags, _, err := catalog.ListServices.Call(t.Context(), client, op.Header{Datacenter: op.All}, &catalog.ServicesRequest{}); err != nil || !slices.Equal((*tags)["web"], []string{"in-dc1", "in-dc2", "in-dc3"}) {
		t.Errorf("services of all: %v %v", tags, err)
	}
	_, _, err := catalog.Register.Call(t.Context(), client, op.Header{Datacenter: op.All}, &catalog.RegisterRequest{Node: "x", Address: "1.2.3.4"})
	if op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("a write to all: %v", err)
	}
	_, _, err = catalog.GetDigest.Call(t.Context(), client, op.Header{Datacenter: "dc2"}, &op.Empty{})
	if op.CodeOf(err) != op.CodeUnsupported {
		t.Errorf("a client asks for a digest: %v", err)
	}
}

// promise is how soon after a change of health another datacenter answers.
const promise = time.Second

func TestNearestChangesOverAndBack(t *testing.T) {
	t.Parallel()
	c := far(t)
	for _, dc := range c.Datacenters() {
		shows(t, c, dc, "web", catalog.Passing)
	}
	answers(t, c, 30*time.Second, op.All, healthy("web"), "dc1 dc2 dc3", "")
	for _, n := range c.In("dc1") {
		for _, mode := range []op.Consistency{op.Default, op.Cached} {
			from := n.Agent().Caller()
			h := op.Header{Datacenter: op.Nearest, Consistency: mode}
			_, meta, err := asked(t.Context(), from, h, healthy("web"))
			if err != nil || !meta.Opaque {
				t.Fatalf("%+v %v", meta, err)
			}
			for _, step := range []struct{ dc, status, want string }{
				{"dc1", catalog.Critical, "dc2"}, {"dc2", catalog.Critical, "dc3"}, {"dc2", catalog.Warning, "dc2"}, {"dc2", catalog.Passing, "dc2"}, {"dc1", catalog.Passing, "dc1"}} {
				type answer struct {
					dc   string
					meta op.Meta
					err  error
					at   time.Time
				}
				woken := make(chan answer, 1)
				waiting := h
				waiting.MinIndex, waiting.MaxWait = meta.Index, 10*time.Second
				go func() {
					dc, m, err := asked(t.Context(), from, waiting, healthy("web"))
					woken <- answer{dc, m, err, time.Now()}
				}()
				select {
				case a := <-woken:
					t.Fatalf("%s in mode %d was answered %q before anything changed: %v, index %d after %d", n.Name, mode, a.dc, a.err, a.meta.Index, meta.Index)
				case <-time.After(50 * time.Millisecond):
				}
				begin := time.Now()
				shows(t, c, step.dc, "web", step.status)
				a := <-woken
				took := a.at.Sub(begin)
				t.Logf("%s in mode %d: %s %s in dc1 after %s", n.Name, mode, step.dc, step.status, took)
				if a.err != nil || a.dc != step.want || took > promise {
					t.Errorf("%s in mode %d: web is %s in %s: from %q after %s, %v; want %s", n.Name, mode, step.status, step.dc, a.dc, took, a.err, step.want)
				}
				meta = a.meta
			}
		}
	}
}

// A datacenter that is cut off answers with its age, behind those that can be
// reached; one of which nothing is known is told of.
func TestFanOutAnswersDuringACut(t *testing.T) {
	t.Parallel()
	c := far(t)
	shows(t, c, "dc1", "web", catalog.Critical)
	for _, dc := range []string{"dc2", "dc3"} {
		shows(t, c, dc, "web", catalog.Passing)
		shows(t, c, dc, "db", catalog.Passing)
	}
	answers(t, c, 30*time.Second, op.All, healthy("web"), "dc2 dc3", "dc1 ok, dc2 ok, dc3 ok")
	answers(t, c, 2*time.Second, op.Nearest, healthy("web"), "dc2", "dc1 ok, dc2 ok")
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	answers(t, c, 15*time.Second, op.All, healthy("web"), "dc2 dc3", "dc1 ok, dc2 stale, dc3 ok")
	answers(t, c, 2*time.Second, op.Nearest, healthy("web"), "dc3", "dc1 ok, dc3 ok")
	answers(t, c, 3*time.Second, op.All, healthy("db"), "dc3", "dc1 ok, dc2 unreachable, dc3 ok") // nobody followed it there
	answers(t, c, 3*time.Second, op.All, healthy("none"), "", "dc1 ok, dc2 stale, dc3 ok")        // the directory knows that dc2 had none
	shows(t, c, "dc3", "web", catalog.Critical)
	answers(t, c, 2*time.Second, op.Nearest, healthy("web"), "dc2", "dc1 ok, dc3 ok, dc2 stale")
	for _, n := range c.In("dc1") {
		for mode := range op.Cached + 1 {
			begin := time.Now()
			got, meta, err := asked(t.Context(), n.Agent().Caller(), op.Header{Datacenter: op.Nearest, Consistency: mode}, healthy("web"))
			if took := time.Since(begin); err != nil || got != "dc2" || meta.Age < time.Second || meta.Datacenter != "dc2" || took > 100*time.Millisecond {
				t.Errorf("%s in mode %d during the cut: %q, %+v, %v after %s", n.Name, mode, got, meta, err, took)
			}
			if _, _, err := asked(t.Context(), n.Agent().Caller(), op.Header{Datacenter: "dc2>dc9", Consistency: mode}, healthy("never")); err != nil {
				t.Errorf("what the directory knows not to be there: %v", err)
			}
			_, _, err = catalog.ListNodes.Call(t.Context(), n.Agent().Caller(), op.Header{Datacenter: "dc2,dc9", Consistency: mode}, &op.Empty{})
			if op.CodeOf(err) != op.CodeUnreachableDatacenter && op.CodeOf(err) != op.CodeUnknownDatacenter {
				t.Errorf("%s in mode %d asks those that cannot be asked: %v", n.Name, mode, err)
			}
		}
	}
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	answers(t, c, 5*time.Second, op.All, healthy("db"), "dc2 dc3", "dc1 ok, dc2 ok, dc3 ok")
	answers(t, c, 5*time.Second, op.Nearest, healthy("web"), "dc2", "dc1 ok, dc2 ok")
}

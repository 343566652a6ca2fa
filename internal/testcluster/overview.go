package testcluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/status"
)

// overviewTimeout bounds each question for an Overview.
const overviewTimeout = 500 * time.Millisecond

// Row is the state of one datacenter, as its own agents see it.
type Row struct {
	Datacenter string
	Region     string // that lends its round trips; empty in a flat topology
	Leader     string // node name, empty if there is none
	Members    int
	Alive      int
	Services   int
	Cut        bool
	To         []Distance // one for each datacenter, in order
}

// Distance is an estimated round trip to a datacenter.
type Distance struct {
	RTT   time.Duration
	Known bool
	Self  bool
	// Through are the datacenters whose servers carry what is said there; Gateways says that
	// gateways do.
	Through  []string
	Gateways bool
}

// Overview describes every datacenter.
func (c *Cluster) Overview() []Row {
	rows := make([]Row, 0, c.spec.Datacenters)
	for i, dc := range c.Datacenters() {
		r := Row{Datacenter: dc, Cut: c.IsCut(dc), Members: len(c.In(dc)), To: make([]Distance, c.spec.Datacenters)}
		if c.spec.Regions {
			r.Region = Regions()[i]
		}
		r.To[i] = Distance{Self: true}
		for _, n := range c.In(dc) {
			if a := n.Agent(); a != nil {
				c.describe(&r, n)
				break
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// describe fills in what a live agent of the datacenter knows.
func (c *Cluster) describe(r *Row, n *Node) {
	a := n.Agent()
	if a == nil {
		return
	}
	for _, m := range a.LANMembers() {
		if m.Status == gossip.Alive {
			r.Alive++
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), overviewTimeout)
	defer cancel()
	if l, _, err := status.Leader.Call(ctx, a.Caller(), op.Header{}, &op.Empty{}); err == nil && l != nil {
		for _, n := range c.In(r.Datacenter) {
			if l.Text == n.IP+":8300" {
				r.Leader = n.Name
			}
		}
	}
	h := c.header()
	h.Consistency = op.Stale
	if s, _, err := catalog.ListServices.Call(ctx, a.Caller(), h, &catalog.ServicesRequest{}); err == nil && s != nil {
		r.Services = len(*s)
	}
	for j, dc := range c.Datacenters() {
		if dc != r.Datacenter {
			d, ok := a.DistanceTo(dc)
			r.To[j] = Distance{RTT: d, Known: ok, Gateways: c.spec.shut(j) || c.spec.Shape == Gateways}
		}
	}
	views, _, err := status.Federation.Call(ctx, a.Caller(), c.header(), &status.FederationRequest{})
	if err != nil || views == nil || len(views.Views) == 0 {
		return
	}
	for _, l := range views.Views[0].Links {
		if j := c.site(l.Datacenter); j >= 0 {
			r.To[j].Through = l.Through
		}
	}
}

// WaitFederated waits until every server knows each datacenter and has an answer from
// it. The answer alone says less: a server that does not know a datacenter yet has one
// of its neighbours ask it.
func (c *Cluster) WaitFederated(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range c.Nodes() {
		if n.Server {
			g.Go(func() error { return c.waitLeaders(ctx, n) })
		}
	}
	return g.Wait()
}

// waitLeaders waits until a server has an answer from every datacenter.
func (c *Cluster) waitLeaders(ctx context.Context, n *Node) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for _, dc := range c.Datacenters() {
		for {
			err := leaderSeen(ctx, n, dc)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("federation is not whole: %w", err)
			case <-t.C:
			}
		}
	}
	return nil
}

// leaderSeen asks a server who leads a datacenter. One that does not run has nobody to ask.
func leaderSeen(ctx context.Context, n *Node, dc string) error {
	a := n.Agent()
	if a == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l, _, err := status.Leader.Call(ctx, a.Caller(), op.Header{Datacenter: dc}, &op.Empty{})
	if err != nil {
		return fmt.Errorf("%s asks %s: %w", n.Name, dc, err)
	}
	if l == nil || l.Text == "" {
		return fmt.Errorf("%s sees no leader in %s", n.Name, dc)
	}
	return known(ctx, n, dc)
}

// known asks a server whether it knows another datacenter itself. Who asks needs no token.
func known(ctx context.Context, n *Node, dc string) error {
	a := n.Agent()
	if a == nil {
		return nil
	}
	names, _, err := status.Datacenters.Call(ctx, a.Caller(), op.Header{}, &op.Empty{})
	if err != nil {
		return fmt.Errorf("%s says which datacenters it knows: %w", n.Name, err)
	}
	if !slices.Contains(names.Texts, dc) {
		return fmt.Errorf("%s does not know %s yet", n.Name, dc)
	}
	return nil
}

// RegisterExamples registers services in each datacenter: two instances of web
// and one of db, checked by asking the agent's own HTTP interface.
func (c *Cluster) RegisterExamples(ctx context.Context) error {
	for _, dc := range c.Datacenters() {
		in := c.In(dc)
		for i, n := range []*Node{in[0], in[c.spec.Servers+c.spec.Clients-1]} {
			a := n.Agent()
			if a == nil {
				continue
			}
			check := config.CheckDefinition{Name: "answers", HTTP: "http://" + n.HTTPAddr() + "/v1/status/leader", Interval: 5 * time.Second, Status: "passing"}
			web := config.ServiceDefinition{ID: fmt.Sprintf("web-%d", i+1), Name: "web", Port: 8080 + i, Tags: []string{"v1"}, Checks: []config.CheckDefinition{check}}
			if err := a.Local().AddService(web); err != nil {
				return fmt.Errorf("register web on %s: %w", n.Name, err)
			}
			if i == 0 {
				if err := a.Local().AddService(config.ServiceDefinition{Name: "db", Port: 5432, Tags: []string{"primary"}, Checks: []config.CheckDefinition{check}}); err != nil {
					return fmt.Errorf("register db on %s: %w", n.Name, err)
				}
			}
		}
		for _, name := range []string{"web", "db"} {
			if err := c.waitService(ctx, dc, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitService waits until a service is in a datacenter's catalog.
func (c *Cluster) waitService(ctx context.Context, dc, service string) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		if a := c.In(dc)[0].Agent(); a != nil {
			list, _, err := catalog.ListInstances.Call(ctx, a.Caller(), c.header(), &catalog.ServiceRequest{Service: service})
			if err == nil && list != nil && len(*list) > 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("service %s does not appear in %s: %w", service, dc, ctx.Err())
		case <-t.C:
		}
	}
}

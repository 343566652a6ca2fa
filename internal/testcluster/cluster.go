package testcluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/wanem"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

// Cluster is a running federation. Its methods are safe for concurrent use.
type Cluster struct {
	spec Spec
	net  *wanem.Network

	mu    sync.Mutex
	nodes []*Node
	links map[[2]int]wanem.Link
	cut   map[string]bool
}

// Node is one agent of a cluster, running or stopped.
type Node struct {
	Name       string
	Datacenter string
	Server     bool
	Gateway    bool // a client agent that carries what servers of datacenters say to each other
	IP         string

	site  string // of the emulated network
	mu    sync.Mutex
	agent *agent.Agent // nil while stopped
}

// HTTPAddr is where the node answers HTTP.
func (n *Node) HTTPAddr() string { return net.JoinHostPort(n.IP, "8500") }

// DNSAddr is where the node answers DNS.
func (n *Node) DNSAddr() string { return net.JoinHostPort(n.IP, "8600") }

// Agent returns the running agent, nil while it is stopped.
func (n *Node) Agent() *agent.Agent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent
}

// New prepares a cluster; it runs nothing yet.
func New(s Spec) (*Cluster, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	network, err := wanem.New(s.Seed)
	if err != nil {
		return nil, err
	}
	c := &Cluster{spec: s, net: network, links: map[[2]int]wanem.Link{}, cut: map[string]bool{}}
	for i := range s.Datacenters {
		for k := range s.Servers + s.Clients {
			n := &Node{Datacenter: Datacenter(i), Server: k < s.Servers, site: Datacenter(i)}
			n.Name = fmt.Sprintf("%s-server%d", n.Datacenter, k+1)
			if !n.Server {
				n.Name = fmt.Sprintf("%s-client%d", n.Datacenter, k+1-s.Servers)
			}
			c.add(n, k)
		}
	}
	c.layOut()
	return c, nil
}

// Start starts every agent and returns when all listen. If one fails, all are
// stopped.
func (c *Cluster) Start(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, n := range c.nodes {
		g.Go(func() error { return c.StartNode(gctx, n.Name) })
	}
	err := g.Wait()
	if err == nil {
		return nil
	}
	stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(err, c.Stop(stop))
}

// Nodes lists the agents, by datacenter, servers first.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns the named agent, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// In lists the agents of a datacenter, servers first.
func (c *Cluster) In(dc string) []*Node {
	var in []*Node
	for _, n := range c.nodes {
		if n.Datacenter == dc {
			in = append(in, n)
		}
	}
	return in
}

// Datacenters lists the names of the datacenters.
func (c *Cluster) Datacenters() []string {
	names := make([]string, 0, c.spec.Datacenters)
	for i := range c.spec.Datacenters {
		names = append(names, Datacenter(i))
	}
	return names
}

// StartNode starts an agent that is not running, on what it kept.
func (c *Cluster) StartNode(ctx context.Context, name string) error {
	n := c.Node(name)
	if n == nil {
		return fmt.Errorf("no agent is called %q", name)
	}
	cfg, err := c.config(n)
	if err != nil {
		return fmt.Errorf("configure %s: %w", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent != nil {
		return fmt.Errorf("agent %s is running", name)
	}
	a, err := agent.New(agent.Options{Config: cfg, Log: c.spec.Log, Timing: c.spec.Timing,
		WrapWAN: func(p net.PacketConn) net.PacketConn { return c.net.Wrap(p, n.site) }})
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	if err := a.Start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	n.agent = a
	return nil
}

// StopNode stops an agent without a word to the others.
func (c *Cluster) StopNode(ctx context.Context, name string) error {
	n := c.Node(name)
	if n == nil {
		return fmt.Errorf("no agent is called %q", name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent == nil {
		return nil
	}
	err := n.agent.Stop(ctx)
	n.agent = nil
	return err
}

// config makes an agent's configuration from the words that a user would give. Who
// leaves does so at once: nobody needs the time.
func (c *Cluster) config(n *Node) (*config.Config, error) {
	args := []string{"-node=" + n.Name, "-datacenter=" + n.Datacenter, "-bind=" + n.IP, "-client=" + n.IP, "-log-level=INFO",
		"-hcl=performance { raft_multiplier = 1 leave_drain_time = \"0s\" } limits { http_max_conns_per_client = 5000 }"}
	if n.Server {
		args = append(args, "-server", "-bootstrap-expect="+strconv.Itoa(c.spec.Servers))
		if first := c.nodes[0]; first.Datacenter != n.Datacenter {
			args = append(args, "-retry-join-wan="+c.door(), "-retry-interval-wan=250ms")
		}
	}
	if first := c.In(n.Datacenter)[0]; first != n {
		args = append(args, "-retry-join="+first.IP, "-retry-interval=250ms")
	} else if c.spec.Servers > 1 {
		args = append(args, "-retry-join="+c.In(n.Datacenter)[1].IP, "-retry-interval=250ms")
	}
	dir := "unused"
	if c.spec.Dir != "" {
		dir = filepath.Join(c.spec.Dir, n.Name)
	}
	args = append(args, "-data-dir="+dir)
	fs := flag.NewFlagSet(n.Name, flag.ContinueOnError)
	flags := config.RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		return nil, err
	}
	cfg.EncryptKey, cfg.UIConfig.Enabled = c.spec.Key, c.spec.UI
	c.reach(n, cfg)
	if c.spec.Dir == "" {
		cfg.DataDir = ""
	}
	if c.spec.Access != nil {
		c.spec.Access.configure(cfg)
	}
	if c.spec.Configure != nil {
		c.spec.Configure(cfg)
	}
	return cfg, nil
}

// Stop stops every agent, then the emulated WAN.
func (c *Cluster) Stop(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = c.StopNode(ctx, n.Name) })
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), c.net.Close(ctx))
}

// SetLink changes the link between two datacenters.
func (c *Cluster) SetLink(a, b string, l wanem.Link) error {
	i, j, err := c.pair(a, b)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.links[[2]int{i, j}] = l
	c.mu.Unlock()
	c.set(i, j, l)
	return nil
}

// LinkOf returns the link between two datacenters.
func (c *Cluster) LinkOf(a, b string) (wanem.Link, error) {
	i, j, err := c.pair(a, b)
	if err != nil {
		return wanem.Link{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.links[[2]int{i, j}], nil
}

func (c *Cluster) pair(a, b string) (int, int, error) {
	i, j := c.site(a), c.site(b)
	switch {
	case i < 0:
		return 0, 0, fmt.Errorf("no datacenter is called %q", a)
	case j < 0:
		return 0, 0, fmt.Errorf("no datacenter is called %q", b)
	case i == j:
		return 0, 0, fmt.Errorf("a link has two ends: %q and %q are one datacenter", a, b)
	}
	return min(i, j), max(i, j), nil
}

func (c *Cluster) site(name string) int {
	for i := range c.spec.Datacenters {
		if Datacenter(i) == name {
			return i
		}
	}
	return -1
}

// Cut parts a datacenter from all others; Heal undoes it.
func (c *Cluster) Cut(dc string) error { return c.setCut(dc, true) }

// Heal undoes Cut.
func (c *Cluster) Heal(dc string) error { return c.setCut(dc, false) }

func (c *Cluster) setCut(dc string, cut bool) error {
	if c.site(dc) < 0 {
		return fmt.Errorf("no datacenter is called %q", dc)
	}
	c.mu.Lock()
	c.cut[dc] = cut
	c.mu.Unlock()
	for _, site := range []string{dc, gatewaySite(c.site(dc))} {
		if cut {
			c.net.Cut(site)
		} else {
			c.net.Heal(site)
		}
	}
	return nil
}

// IsCut reports whether a datacenter is parted from the others.
func (c *Cluster) IsCut(dc string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut[dc]
}

// WaitLeader waits until a datacenter has a leader that a live agent of it
// knows, and returns the leader's address.
func (c *Cluster) WaitLeader(ctx context.Context, dc string) (string, error) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		for _, n := range c.In(dc) {
			a := n.Agent()
			if a == nil {
				continue
			}
			try, cancel := context.WithTimeout(ctx, time.Second)
			leader, _, err := status.Leader.Call(try, a.Caller(), op.Header{Consistency: op.Stale}, &op.Empty{})
			cancel()
			if err == nil && leader != nil && leader.Text != "" {
				return leader.Text, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("datacenter %s has no leader: %w", dc, ctx.Err())
		case <-t.C:
		}
	}
}

package leader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Name, texts of the check by which the leader shows what gossip says of a
// node; clients know them.
const (
	serfHealthName   = "Serf Health Status"
	serfHealthAlive  = "Agent alive and reachable"
	serfHealthFailed = "Agent not live or unreachable"
	consulService    = "consul"
)

// reconcileRetry is the pause after a first round that failed; it doubles up
// to ReconcilePeriod.
const reconcileRetry = time.Second

// reconcileRest is how many times as long as a round took the next one waits, up to reconcileRestMost, where there are more
// members than reconcileLarge: members that come and go all the time have rounds take a fifth of a core.
const (
	reconcileLarge    = 512
	reconcileRest     = 4
	reconcileRestMost = 5 * time.Second
)

// reconcileLoop keeps the catalog and the consensus group in line with gossip.
// It runs while this server leads: at once, when members change, and each
// ReconcilePeriod.
func (d *Duties) reconcileLoop(ctx context.Context) {
	t := time.NewTicker(d.cfg.ReconcilePeriod)
	defer t.Stop()
	pause := reconcileRetry
	for {
		start := time.Now()
		err := d.reconcile(ctx)
		d.metrics.reconciles.Observe(time.Since(start).Seconds())
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			d.log.Warn("reconcile members", "error", err, "again_in", pause)
			again, pause = time.After(pause), min(2*pause, d.cfg.ReconcilePeriod)
		} else {
			pause = reconcileRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.rest(time.Since(start))):
		}
		select {
		case <-ctx.Done():
			return
		case <-d.members:
		case <-again:
		case <-t.C:
		}
	}
}

// rest is how long to wait after a round that took so long.
func (d *Duties) rest(took time.Duration) time.Duration {
	if len(d.lan.Members()) <= reconcileLarge {
		return 0
	}
	return min(reconcileRest*took, reconcileRestMost)
}

// reconcile goes through all members once. What is refused for one of them
// does not keep it from the others.
func (d *Duties) reconcile(ctx context.Context) error {
	members := d.lan.Members()
	// Who is gone makes room first for who is there under its name or ID.
	slices.SortStableFunc(members, func(a, b lan.Member) int { return cmp.Compare(alive(a), alive(b)) })
	errs := []error{d.reconcileServers(ctx, members)}
	seen := map[string]bool{}
	for _, m := range members {
		seen[strings.ToLower(m.Name)] = true
		err := d.reconcileMember(ctx, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("member %s: %w", m.Name, err))
		}
		if ctx.Err() != nil || err != nil && !refused(err) {
			return errors.Join(errs...)
		}
	}
	before := d.seen.Swap(&seen)
	return errors.Join(append(errs, d.forgetUnseen(ctx, seen, before))...)
}

// alive is 1 for a live member, else 0.
func alive(m lan.Member) int {
	if m.Status == gossip.Alive {
		return 1
	}
	return 0
}

// refused reports whether the state said no to one command, rather than that
// no command can be carried out now.
func refused(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeInvalid, op.CodeConflict, op.CodeTooLarge:
		return true
	}
	return false
}

func (d *Duties) reconcileMember(ctx context.Context, m lan.Member) error {
	switch m.Status {
	case gossip.Alive:
		return d.memberAlive(ctx, m)
	case gossip.Failed:
		return d.memberHealth(ctx, m, catalog.Critical, serfHealthFailed)
	case gossip.Left:
		return d.forget(ctx, m.Name)
	}
	return nil
}

// memberAlive registers a live member; what is so already is not written.
func (d *Duties) memberAlive(ctx context.Context, m lan.Member) error {
	if srv, ok := gossip.ServerOf(m); ok {
		return d.register(ctx, m, catalog.Passing, serfHealthAlive, &catalog.Service{
			ID: consulService, Service: consulService, Port: srv.RaftPort, Tags: []string{},
			Weights: catalog.Weights{Passing: 1, Warning: 1},
			Meta:    serverMeta(m, srv),
		})
	}
	return d.memberHealth(ctx, m, catalog.Passing, serfHealthAlive)
}

// serverMeta is what clients know a server by.
func serverMeta(m lan.Member, srv lan.Server) map[string]string {
	number := func(n uint8) string { return strconv.Itoa(int(n)) }
	build, _, _ := strings.Cut(srv.Build, ":") // the revision is no part of what is compared
	replica := strconv.FormatBool(srv.ReadReplica)
	return map[string]string{
		"version": build, "raft_version": "3", "non_voter": replica, "read_replica": replica,
		"serf_protocol_current": number(m.ProtocolCur), "serf_protocol_min": number(m.ProtocolMin), "serf_protocol_max": number(m.ProtocolMax),
	}
}

func (d *Duties) memberHealth(ctx context.Context, m lan.Member, health, output string) error {
	return d.register(ctx, m, health, output, nil)
}

func (d *Duties) register(ctx context.Context, m lan.Member, health, output string, svc *catalog.Service) error {
	check := catalog.Check{Node: m.Name, CheckID: catalog.SerfHealth, Name: serfHealthName, Status: health, Output: output}
	at, old, err := d.inCatalog(m, &check, svc)
	if err != nil {
		return err
	}
	failed := health != catalog.Passing // says nothing of where the node is
	switch {
	case at == absent && failed: // it was never seen alive here
		return nil
	case at == same:
		return nil
	}
	r := &catalog.RegisterRequest{
		ID: m.Tags["id"], Node: m.Name, Address: m.Addr, Datacenter: d.cfg.Datacenter,
		TaggedAddresses: taggedAddresses(m.Addr),
		// Its agent may have registered it meanwhile, with metadata that is not known here.
		SkipNodeUpdate: failed || at != moved, Service: svc, Checks: []catalog.Check{check},
	}
	if at == moved {
		if err := d.succeed(ctx, r, old); err != nil {
			return err
		}
	}
	_, _, err = catalog.Register.Call(ctx, d.Self(), op.Header{}, r)
	return err
}

// succeed prepares the registration of a node that the catalog has with another
// address or ID. The node's metadata stays: its agent writes it. Gossip has one
// member of a name, so who had the name with another ID is not there any more.
func (d *Duties) succeed(ctx context.Context, r *catalog.RegisterRequest, old *catalog.Node) error {
	r.NodeMeta, r.Locality = old.Meta, old.Locality
	for name, addr := range old.TaggedAddresses {
		if !strings.HasPrefix(name, "lan") {
			r.TaggedAddresses[name] = addr
		}
	}
	if old.ID == "" || strings.EqualFold(old.ID, r.ID) {
		return nil
	}
	d.log.Info("a node's name has another ID now", "member", r.Node, "id", r.ID, "was", old.ID)
	_, _, err := catalog.Register.Call(ctx, d.Self(), op.Header{}, &catalog.RegisterRequest{Node: r.Node, SkipNodeUpdate: true,
		Checks: []catalog.Check{{CheckID: catalog.SerfHealth, Name: serfHealthName, Status: catalog.Critical, Output: serfHealthFailed}}})
	return err
}

func taggedAddresses(addr string) map[string]string {
	if ip, err := netip.ParseAddr(addr); err == nil && ip.Is6() {
		return map[string]string{"lan": addr, "lan_ipv6": addr}
	}
	return map[string]string{"lan": addr, "lan_ipv4": addr}
}

// standing is how the catalog stands to what gossip says of a member.
type standing int

const (
	absent  standing = iota
	moved            // it has the node with another address or ID
	differs          // it has the node so, but not its check or service
	same
)

// inCatalog also returns the node that the catalog has, nil for none.
func (d *Duties) inCatalog(m lan.Member, check *catalog.Check, svc *catalog.Service) (standing, *catalog.Node, error) {
	v := d.cfg.State.View()
	defer v.Close()
	node, err := catalog.FindNode(v, &catalog.Node{Node: m.Name})
	if err != nil || node == nil {
		return absent, nil, err
	}
	if check.Status == catalog.Passing && (!sameAddress(node.Address, m.Addr) || node.ID != m.Tags["id"]) {
		return moved, node, nil
	}
	if svc != nil {
		stored, err := catalog.FindService(v, m.Name, svc.ID)
		if err != nil {
			return absent, nil, err
		}
		if stored == nil || !stored.Same(svc) {
			return differs, node, nil
		}
	}
	stored, err := catalog.FindCheck(v, m.Name, check.CheckID)
	switch {
	case err != nil:
		return absent, nil, err
	case stored != nil && stored.Status == check.Status && stored.Output == check.Output:
		return same, node, nil
	}
	return differs, node, nil
}

// sameAddress compares addresses however they are written: agents register
// theirs as it is configured.
func sameAddress(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Unmap() == y.Unmap()
}

// forget removes a node that left from the catalog.
func (d *Duties) forget(ctx context.Context, node string) error {
	if strings.EqualFold(node, d.cfg.NodeName) {
		return nil // ourselves, on the way out: the next leader does it
	}
	v := d.cfg.State.View()
	known, err := catalog.HasNode(v, node)
	v.Close()
	if err != nil || !known {
		return err
	}
	d.log.Info("node left, removing it from the catalog", "member", node)
	_, _, err = catalog.Deregister.Call(ctx, d.Self(), op.Header{}, &catalog.DeregisterRequest{Node: node})
	return err
}

// forgetUnseen removes nodes that were members once (they have a serfHealth
// check) and are no longer known to gossip. Nodes registered from outside have
// no such check and stay. A server that has just started sees itself alone at
// first: until it has had time to meet the others, it forgets only whom it saw
// in the round before.
func (d *Duties) forgetUnseen(ctx context.Context, seen map[string]bool, before *map[string]bool) error {
	young := time.Since(d.started) < d.cfg.ReconcilePeriod
	if young && before == nil {
		return nil
	}
	gone, err := d.unseen(func(node string) bool { return seen[node] || young && !(*before)[node] })
	if err != nil {
		return err
	}
	for _, node := range gone {
		if err := d.forget(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// unseen are nodes of the catalog that were members once, but for those that are to stay, by their names in small letters.
func (d *Duties) unseen(stays func(node string) bool) (gone []string, err error) {
	v := d.cfg.State.View()
	defer func() { err = errors.Join(err, v.Close()) }()
	nodes, err := catalog.ListNodes.Query(v, &op.Empty{})
	if err != nil {
		return nil, err
	}
	for i := range *nodes {
		name := (*nodes)[i].Node
		if stays(strings.ToLower(name)) {
			continue
		}
		c, err := catalog.FindCheck(v, name, catalog.SerfHealth)
		if err != nil {
			return nil, err
		}
		if c != nil {
			gone = append(gone, name)
		}
	}
	return gone, nil
}

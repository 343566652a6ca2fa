package testcluster_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/status"
)

const management = "8f9f8e4e-1111-4222-8333-0123456789ab"

// controlled runs a federation with access control whose home is dc1 at first.
func controlled(t *testing.T, s testcluster.Spec) *testcluster.Cluster {
	t.Helper()
	s.Configure = func(cfg *config.Config) {
		cfg.ACL.Enabled, cfg.ACL.DefaultPolicy, cfg.PrimaryDatacenter = true, "deny", "dc1"
		cfg.ACL.Tokens.Agent, cfg.ACL.Tokens.Default = management, ""
		if cfg.Datacenter == "dc1" {
			cfg.ACL.Tokens.InitialManagement = management
		}
	}
	c := start(t, s)
	for _, dc := range c.Datacenters() {
		// Until its copies come a datacenter asks the home what a secret stands for.
		eventually(t, dc+" has the management token", 20*time.Second, func(ctx context.Context) error {
			there, err := tokensOf(ctx, c, dc)
			if err == nil && !slices.Contains(slices.Collect(maps.Values(there)), management) {
				err = fmt.Errorf("%d other tokens are there", len(there))
			}
			return err
		})
	}
	return c
}

// at is a caller in a datacenter: its first agent that runs.
func at(c *testcluster.Cluster, dc string) op.Caller {
	for _, n := range c.In(dc) {
		if a := n.Agent(); a != nil {
			return a.Caller()
		}
	}
	return nil
}

// hasToken reports whether a datacenter itself knows what a secret stands for.
func hasToken(ctx context.Context, c *testcluster.Cluster, dc, secret string) error {
	_, _, err := acl.ResolveSecret.Call(ctx, at(c, dc), op.Header{Token: secret}, &acl.ResolveRequest{Secret: secret})
	return err
}

func newToken(ctx context.Context, c *testcluster.Cluster, dc string, token acl.Token) (*acl.Token, error) {
	t, _, err := acl.SetToken.Call(ctx, at(c, dc), op.Header{Token: management}, &acl.SetTokenRequest{Create: true, Token: token})
	return t, err
}

func replication(ctx context.Context, c *testcluster.Cluster, dc string) (*acl.Replication, error) {
	r, _, err := acl.ReplicationStatus.Call(ctx, at(c, dc), op.Header{}, &op.Empty{})
	return r, err
}

// tokensOf lists the accessors of the global tokens of a datacenter, with their secrets.
func tokensOf(ctx context.Context, c *testcluster.Cluster, dc string) (map[string]string, error) {
	list, _, err := acl.ListTokens.Call(ctx, at(c, dc), op.Header{Token: management}, &acl.TokensRequest{})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, t := range *list {
		if !t.Local {
			out[t.AccessorID] = t.SecretID
		}
	}
	return out, nil
}

// A change and a revocation in the home count in every datacenter within a one-way trip
// and 100 ms; with the home gone all go on.
func TestEveryDatacenterHasCopiesOfWhatIsGlobal(t *testing.T) {
	t.Parallel()
	const oneWay = 40 * time.Millisecond
	c := controlled(t, testcluster.Spec{Datacenters: 3, Servers: 3, RTT: 2 * oneWay})
	ctx := t.Context()
	policy, _, err := acl.SetPolicy.Call(ctx, at(c, "dc3"), op.Header{Token: management}, &acl.SetPolicyRequest{Create: true,
		Policy: acl.Policy{Name: "reader", Rules: `key_prefix "" { policy = "read" }`}})
	if err != nil {
		t.Fatal("a policy written in dc3:", err)
	}
	eventually(t, "the policy is in dc2", 5*time.Second, func(ctx context.Context) error {
		p, _, err := acl.GetPolicy.Call(ctx, at(c, "dc2"), op.Header{Token: management}, &acl.NamedRequest{Name: "reader"})
		if err == nil && p == nil {
			err = fmt.Errorf("it is not there")
		}
		return err
	})
	// The leaders are followed within a heartbeat or two, whoever was followed first.
	eventually(t, "changes and revocations count in time", 30*time.Second, func(ctx context.Context) error {
		took, err := changesTake(ctx, c, policy.ID, []string{"dc2", "dc3"})
		if err != nil {
			return err
		}
		t.Log(took)
		slices.Sort(took)
		// One in ten may meet a machine that is busy with other tests.
		if typical := took[len(took)*9/10]; typical > oneWay+100*time.Millisecond {
			return fmt.Errorf("a change took %s to count, with %s one way", typical, oneWay)
		}
		return nil
	})

	kept, err := newToken(ctx, c, "dc1", acl.Token{Grants: acl.Grants{Policies: []acl.Link{{ID: policy.ID}}}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc3 has it", 5*time.Second, func(ctx context.Context) error { return hasToken(ctx, c, "dc3", kept.SecretID) })
	for _, n := range c.In("dc1") {
		if err := c.StopNode(ctx, n.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := kv.Get.Call(ctx, at(c, "dc3"), op.Header{Token: kept.SecretID}, &kv.GetRequest{Key: "k"}); err != nil {
		t.Error("with the home gone dc3 answers:", err)
	}
	if _, err := newToken(ctx, c, "dc3", acl.Token{Local: true}); err != nil {
		t.Error("with the home gone a local token is written in dc3:", err)
	}
	eventually(t, "writes say what is wrong", 20*time.Second, func(ctx context.Context) error {
		_, err := newToken(ctx, c, "dc3", acl.Token{})
		if err == nil {
			return fmt.Errorf("a global token is written")
		}
		if e := op.AsError(err); e.Code != op.CodeUnreachableDatacenter || e.Datacenter != "dc1" {
			return fmt.Errorf("it is answered %v", err)
		}
		t.Log(err)
		return nil
	})
}

// changesTake makes and revokes tokens in the home, ten times, and returns how long after
// the answer each counts in the others.
func changesTake(ctx context.Context, c *testcluster.Cluster, policy string, others []string) ([]time.Duration, error) {
	var took []time.Duration
	for range 10 {
		tok, err := newToken(ctx, c, "dc1", acl.Token{Grants: acl.Grants{Policies: []acl.Link{{ID: policy}}}})
		if err != nil {
			return nil, err
		}
		for _, there := range []bool{true, false} {
			from := time.Now()
			for _, dc := range others {
				if err := until(ctx, func() bool { return (hasToken(ctx, c, dc, tok.SecretID) == nil) == there }); err != nil {
					return nil, err
				}
				took = append(took, time.Since(from))
			}
			if !there {
				break
			}
			if _, _, err := kv.Get.Call(ctx, at(c, others[0]), op.Header{Token: tok.SecretID}, &kv.GetRequest{Key: "k"}); err != nil {
				return nil, fmt.Errorf("what it grants: %w", err)
			}
			if _, _, err := acl.DeleteToken.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &acl.AccessorRequest{Accessor: tok.AccessorID}); err != nil {
				return nil, err
			}
		}
	}
	return took, nil
}

// until asks every 2 ms until something is so.
func until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Who was cut off catches up, local tokens are left alone, and what differs for whatever
// reason is noticed and mended.
func TestCopiesCatchUpAndAreMended(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 2, Servers: 1, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	local, err := newToken(ctx, c, "dc2", acl.Token{Local: true, Description: "stays"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	// One that will collide with a global one: the local one gives way.
	clash, err := newToken(ctx, c, "dc2", acl.Token{Local: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newToken(ctx, c, "dc1", acl.Token{AccessorID: clash.AccessorID, Description: "global"}); err != nil {
		t.Fatal(err)
	}
	const many = 3000
	work := make(chan int)
	failed := make(chan error, 16)
	for range cap(failed) {
		go func() {
			var err error
			for i := range work {
				if _, e := newToken(ctx, c, "dc1", acl.Token{Description: fmt.Sprint("token ", i)}); e != nil {
					err = e
				}
			}
			failed <- err
		}()
	}
	for i := range many {
		work <- i
	}
	close(work)
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	same := func(ctx context.Context) error {
		home, err := tokensOf(ctx, c, "dc1")
		if err != nil {
			return err
		}
		copied, err := tokensOf(ctx, c, "dc2")
		if err != nil {
			return err
		}
		if len(home) < many {
			return fmt.Errorf("the home has %d tokens", len(home))
		}
		if len(home) != len(copied) {
			return fmt.Errorf("%d tokens of %d", len(copied), len(home))
		}
		for accessor, secret := range home {
			if copied[accessor] != secret {
				return fmt.Errorf("token %s is another one", accessor)
			}
		}
		return nil
	}
	eventually(t, "all is copied", 30*time.Second, same)
	if err := hasToken(ctx, c, "dc2", local.SecretID); err != nil {
		t.Error("the local token:", err)
	}
	if err := hasToken(ctx, c, "dc2", clash.SecretID); err == nil {
		t.Error("the local token with the accessor of a global one is there still")
	}
	eventually(t, "it says that it is current", 10*time.Second, func(ctx context.Context) error {
		r, err := replication(ctx, c, "dc2")
		if err == nil && (!r.Enabled || !r.Running || r.SourceDatacenter != "dc1" || r.ReplicatedIndex == 0 || r.LastSuccess.IsZero()) {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
	if r, err := replication(ctx, c, "dc1"); err != nil || r.Enabled {
		t.Errorf("the home copies: %+v, %v", r, err)
	}
}

// move has a datacenter become the home.
func move(ctx context.Context, c *testcluster.Cluster, to string, force bool) (*acl.Moving, error) {
	m, _, err := acl.MoveHome.Call(ctx, at(c, to), op.Header{Token: management}, &acl.MoveRequest{Force: force})
	return m, err
}

func homeOf(ctx context.Context, c *testcluster.Cluster, dc string) (string, error) {
	s, _, err := acl.ShowHome.Call(ctx, at(c, dc), op.Header{Token: management}, &op.Empty{})
	if err != nil {
		return "", err
	}
	return s.Home, nil
}

// The home moves while tokens are written from everywhere: whatever was acknowledged is
// there afterwards, in all datacenters, once.
func TestTheHomeMovesUnderLoad(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 3, Servers: 1, RTT: 20 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stop, enough := context.WithCancel(ctx)
	type written struct {
		tokens map[string]string
		err    error
	}
	results := make(chan written, 12)
	for i := range cap(results) {
		dc := c.Datacenters()[i%3]
		go func() {
			w := written{tokens: map[string]string{}}
			for n := 0; stop.Err() == nil; n++ {
				tok, err := newToken(ctx, c, dc, acl.Token{Description: fmt.Sprintf("%s %d %d", dc, i, n)})
				if err != nil {
					w.err = fmt.Errorf("write %d of writer %d in %s: %w", n, i, dc, err)
					break
				}
				w.tokens[tok.AccessorID] = tok.SecretID
			}
			results <- w
		}()
	}
	for _, to := range []string{"dc2", "dc3", "dc1", "dc2"} {
		began := time.Now()
		m, err := move(ctx, c, to, false)
		if err != nil {
			t.Errorf("move to %s: %v", to, err)
			break
		}
		t.Logf("moved to %s in %s, from %s, %d servers know, not %v", to, time.Since(began).Round(time.Millisecond), m.From, m.Told, m.Missed)
		for _, dc := range c.Datacenters() {
			if home, err := homeOf(ctx, c, dc); err != nil || home != to {
				t.Errorf("%s takes %s for the home: %v", dc, home, err)
			}
		}
	}
	enough()
	all := map[string]string{}
	for range cap(results) {
		w := <-results
		if w.err != nil {
			t.Error(w.err)
		}
		for accessor, secret := range w.tokens {
			all[accessor] = secret
		}
	}
	for _, dc := range c.Datacenters() {
		eventually(t, fmt.Sprintf("all %d tokens are in %s", len(all), dc), 10*time.Second, func(ctx context.Context) error {
			there, err := tokensOf(ctx, c, dc)
			for accessor, secret := range all {
				if err == nil && there[accessor] != secret {
					err = fmt.Errorf("token %s is not there", accessor)
				}
			}
			if err == nil && len(there) != len(all)+2 { // the anonymous one and ours
				err = fmt.Errorf("%d tokens are there", len(there))
			}
			return err
		})
	}
}

// A home that is gone is replaced by force. When it is back it gives way, and is what the
// others are.
func TestTheHomeIsReplacedByForce(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 3, Servers: 1, Dir: t.TempDir()})
	ctx := t.Context()
	if _, err := move(ctx, c, "dc2", true); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("by force while the home answers: %v", err)
	}
	if err := c.Cut("dc1"); err != nil {
		t.Fatal(err)
	}
	lost, err := newToken(ctx, c, "dc1", acl.Token{Description: "written alone"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StopNode(ctx, "dc1-server1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Heal("dc1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc2 takes the role by force", 30*time.Second, func(ctx context.Context) error {
		_, err := move(ctx, c, "dc2", true)
		return err
	})
	var kept *acl.Token
	eventually(t, "dc3 writes to the new home", 10*time.Second, func(ctx context.Context) (err error) {
		kept, err = newToken(ctx, c, "dc3", acl.Token{Description: "kept"})
		return err
	})
	if err := c.StartNode(ctx, "dc1-server1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc1 gives way", 30*time.Second, func(ctx context.Context) error {
		if err := hasToken(ctx, c, "dc1", kept.SecretID); err != nil {
			return err
		}
		if err := hasToken(ctx, c, "dc1", lost.SecretID); err == nil {
			return fmt.Errorf("what it wrote alone is there still")
		}
		home, err := homeOf(ctx, c, "dc1")
		if err == nil && home != "dc2" {
			err = fmt.Errorf("it takes %s for the home", home)
		}
		return err
	})
	if _, err := newToken(ctx, c, "dc1", acl.Token{}); err != nil {
		t.Error("dc1 writes to the new home:", err)
	}
}

// A datacenter that was away goes on from what it has: what was made, changed and deleted
// meanwhile is so there, too.
func TestWhoWasAwayCatchesUp(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 2, Servers: 1, Dir: t.TempDir()})
	ctx := t.Context()
	var made []*acl.Token
	for i := range 300 {
		tok, err := newToken(ctx, c, "dc1", acl.Token{Description: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, tok)
	}
	eventually(t, "dc2 has all", 10*time.Second, func(ctx context.Context) error { return hasToken(ctx, c, "dc2", made[299].SecretID) })
	if err := c.StopNode(ctx, "dc2-server1"); err != nil {
		t.Fatal(err)
	}
	for i, tok := range made {
		var err error
		switch i % 3 {
		case 0:
			_, _, err = acl.DeleteToken.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &acl.AccessorRequest{Accessor: tok.AccessorID})
		case 1:
			tok.Description = "changed"
			_, _, err = acl.SetToken.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &acl.SetTokenRequest{Token: *tok})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.StartNode(ctx, "dc2-server1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc2 is what dc1 is", 20*time.Second, func(ctx context.Context) error {
		counts := map[string]int{}
		for _, tok := range made {
			got, _, err := acl.GetToken.Call(ctx, at(c, "dc2"), op.Header{Token: management}, &acl.TokenRequest{Accessor: tok.AccessorID})
			switch {
			case err != nil:
				return err
			case got == nil:
				counts["deleted"]++
			case got.Token.Description == "changed":
				counts["changed"]++
			default:
				counts["kept"]++
			}
		}
		if counts["deleted"] != 100 || counts["changed"] != 100 {
			return fmt.Errorf("%v", counts)
		}
		return nil
	})
}

// Two datacenters that each take themselves for the home show each other nothing that is
// unfiltered, and say so; configured alike they do.
func TestTwoHomesByMistakeShowEachOtherNothing(t *testing.T) {
	t.Parallel()
	const stranger = "8f9f8e4e-2222-4222-8333-0123456789ab"
	secrets := map[string]string{"dc1": management, "dc2": stranger}
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Dir: t.TempDir(), Configure: func(cfg *config.Config) {
		cfg.ACL.Enabled, cfg.ACL.DefaultPolicy, cfg.PrimaryDatacenter = true, "deny", cfg.Datacenter
		cfg.ACL.Tokens.InitialManagement, cfg.ACL.Tokens.Agent = secrets[cfg.Datacenter], secrets[cfg.Datacenter]
	}})
	for dc, secret := range secrets {
		eventually(t, dc+" has its own token", 20*time.Second, func(ctx context.Context) error { return hasToken(ctx, c, dc, secret) })
	}
	for from, to := range map[string]string{"dc1": "dc2", "dc2": "dc1"} {
		eventually(t, from+" is refused by "+to, 20*time.Second, func(ctx context.Context) error {
			nodes, _, err := catalog.ListNodes.Call(ctx, at(c, from), op.Header{Datacenter: to, Token: secrets[from], Consistency: op.Cached}, &op.Empty{})
			switch {
			case err == nil:
				t.Fatalf("a token of %s alone is shown nodes of %s: %v", from, to, nodes)
			case op.CodeOf(err) == op.CodeDenied:
				return nil
			}
			return err
		})
	}
	eventually(t, "both say so", 30*time.Second, func(ctx context.Context) error {
		for from, to := range map[string]string{"dc1": "dc2", "dc2": "dc1"} {
			views, _, err := status.Federation.Call(ctx, at(c, from), op.Header{Token: secrets[from]}, &status.FederationRequest{})
			if err != nil {
				return err
			}
			if l := views.Views[0].Links[0]; l.OtherHome != to {
				return fmt.Errorf("%s says that %s takes %q for the home", from, l.Datacenter, l.OtherHome)
			}
			r, err := replication(ctx, c, from)
			if err != nil {
				return err
			}
			if !strings.Contains(r.LastErrorMessage, "two homes") {
				return fmt.Errorf("%s says of its copies: %+v", from, r)
			}
			shown, _, err := acl.ShowHome.Call(ctx, at(c, from), op.Header{Token: secrets[from]}, &op.Empty{})
			if err != nil {
				return err
			}
			for _, st := range shown.Datacenters {
				if st.Home != st.Datacenter {
					return fmt.Errorf("%s hears of %s that it takes %q for the home, %s", from, st.Datacenter, st.Home, st.Error)
				}
			}
		}
		return nil
	})
}

// A datacenter that was removed and went on alone, as its own home, is a copy of the
// federation that stayed when it is allowed again.
func TestWhoWasRemovedGivesTheHomeUp(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 2, Servers: 1})
	ctx := t.Context()
	change := func(removed bool) error {
		_, _, err := status.Change.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &status.Membership{Datacenter: "dc2", Removed: removed, Force: removed})
		return err
	}
	eventually(t, "dc2 has the copies", 20*time.Second, func(ctx context.Context) error {
		r, err := replication(ctx, c, "dc2")
		if err == nil && r.ReplicatedIndex == 0 {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	if err := change(true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc2 takes the role by force", 30*time.Second, func(ctx context.Context) error {
		_, err := move(ctx, c, "dc2", true)
		return err
	})
	alone, err := newToken(ctx, c, "dc2", acl.Token{Description: "written alone"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	if err := change(false); err != nil {
		t.Fatal(err)
	}
	var kept *acl.Token
	eventually(t, "dc1 is the home still", 30*time.Second, func(ctx context.Context) (err error) {
		kept, err = newToken(ctx, c, "dc1", acl.Token{Description: "written where it stayed"})
		return err
	})
	eventually(t, "dc2 gives the role up", 60*time.Second, func(ctx context.Context) error {
		home, err := homeOf(ctx, c, "dc2")
		switch {
		case err != nil:
			return err
		case home != "dc1":
			return fmt.Errorf("it takes %s for the home", home)
		case hasToken(ctx, c, "dc2", alone.SecretID) == nil:
			return fmt.Errorf("what it wrote alone is there still")
		}
		return hasToken(ctx, c, "dc2", kept.SecretID)
	})
	if home, err := homeOf(ctx, c, "dc1"); err != nil || home != "dc1" {
		t.Errorf("dc1 takes %s for the home: %v", home, err)
	}
}

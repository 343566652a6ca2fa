package testcluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/kv"
)

// A datacenter that joins a federation with access control serves those who have a token
// as soon as it reaches the home, before the copies have come, and lets nobody bootstrap.
func TestADatacenterJoinsALockedDownFederation(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 3, Servers: 1, RTT: 100 * time.Millisecond})
	ctx := t.Context()
	const node = "dc3-server1"
	if err := c.StopNode(ctx, node); err != nil {
		t.Fatal(err)
	}
	if err := c.Cut("dc3"); err != nil {
		t.Fatal(err)
	}
	if err := c.StartNode(ctx, node); err != nil { // with an empty state
		t.Fatal(err)
	}
	if _, err := c.WaitLeader(ctx, "dc3"); err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, token string) error {
		_, _, err := kv.Get.Call(ctx, at(c, "dc3"), op.Header{Token: token}, &kv.GetRequest{Key: "k"})
		return err
	}
	eventually(t, "it says what is missing", 10*time.Second, func(ctx context.Context) error {
		for _, token := range []string{management, ""} {
			if err := ask(ctx, token); err == nil || !strings.Contains(err.Error(), "dc1, the home of access control") {
				return fmt.Errorf("token %.4q: %w", token, err)
			}
		}
		return nil
	})
	if _, _, err := acl.Bootstrap.Call(ctx, at(c, "dc3"), op.Header{}, &acl.BootstrapRequest{}); err == nil || !strings.Contains(err.Error(), "dc1, the home of access control") {
		t.Errorf("bootstrapped in a datacenter that is cut off from the home: %v", err)
	}
	if r, err := replication(ctx, c, "dc3"); err != nil || !r.Enabled || r.Running || r.SourceDatacenter != "dc1" {
		t.Errorf("how the copies stand: %+v, %v", r, err)
	}
	if err := c.Heal("dc3"); err != nil {
		t.Fatal(err)
	}
	before := 0
	eventually(t, "the copies have come", 30*time.Second, func(ctx context.Context) error {
		r, err := replication(ctx, c, "dc3")
		if err != nil {
			return err
		}
		err = ask(ctx, management)
		switch {
		case r.ReplicatedIndex == 0 && err == nil:
			before++
		case op.CodeOf(err) == op.CodeDenied:
			t.Fatal("who has a token is refused:", err)
		}
		if r.ReplicatedIndex == 0 {
			return fmt.Errorf("%+v", r)
		}
		return err
	})
	t.Logf("it answered %d times before", before)
	if _, _, err := acl.Bootstrap.Call(ctx, at(c, "dc3"), op.Header{}, &acl.BootstrapRequest{}); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("bootstrapped once more: %v", err)
	}
}

// A cut that lasts for longer than QUIC keeps a connection without a packet (9 s between
// datacenters): what is written at the home meanwhile comes when it is over, what stands
// here goes on, and what only the home can do is refused with what it is.
func TestACutThatOutlastsConnections(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 3, Servers: 1, RTT: 20 * time.Millisecond})
	ctx := t.Context()
	kept, err := newToken(ctx, c, "dc1", acl.Token{Description: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc2 has the token", 5*time.Second, func(ctx context.Context) error { return hasToken(ctx, c, "dc2", kept.SecretID) })
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	var made []*acl.Token
	for i := range 20 {
		tok, err := newToken(ctx, c, []string{"dc1", "dc3"}[i%2], acl.Token{})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, tok)
	}
	revoked := made[0]
	if _, _, err := acl.DeleteToken.Call(ctx, at(c, "dc1"), op.Header{Token: management}, &acl.AccessorRequest{Accessor: revoked.AccessorID}); err != nil {
		t.Fatal(err)
	}
	over := time.Now().Add(15 * time.Second)
	refused := 0
	eventually(t, "the cut has lasted", 25*time.Second, func(ctx context.Context) error {
		if err := hasToken(ctx, c, "dc2", kept.SecretID); err != nil {
			t.Fatal("a token that was copied before:", err)
		}
		try, cancel := context.WithTimeout(ctx, 4*time.Second)
		defer cancel()
		_, err := newToken(try, c, "dc2", acl.Token{})
		switch e := op.AsError(err); {
		case err == nil:
			t.Fatal("a global token is written in a datacenter that is cut off from the home")
		case e.Code == op.CodeUnreachableDatacenter && e.Datacenter == "dc1" && strings.Contains(e.Text, "dc1, the home of access control"):
			refused++
		}
		if r, err := replication(ctx, c, "dc2"); err != nil || time.Now().Before(over) || r.Running || r.LastErrorMessage == "" {
			return fmt.Errorf("%+v, %v; refused with %v", r, err, err)
		}
		return nil
	})
	if refused < 10 {
		t.Errorf("a write was told %d times what is wrong", refused)
	}
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dc2 has what was written meanwhile", 30*time.Second, func(ctx context.Context) error {
		for _, tok := range made[1:] {
			if err := hasToken(ctx, c, "dc2", tok.SecretID); err != nil {
				return err
			}
		}
		if err := hasToken(ctx, c, "dc2", revoked.SecretID); err == nil {
			return fmt.Errorf("it has what was revoked")
		}
		if r, err := replication(ctx, c, "dc2"); err != nil || !r.Running || r.LastErrorMessage != "" {
			return fmt.Errorf("%+v, %w", r, err)
		}
		_, err := newToken(ctx, c, "dc2", acl.Token{})
		return err
	})
}

// A home that has lost the majority of its servers answers, and cannot hand its role over:
// it is replaced by force, and not before.
func TestAHomeWithoutAMajorityIsReplacedByForce(t *testing.T) {
	t.Parallel()
	c := controlled(t, testcluster.Spec{Datacenters: 2, Servers: 3, RTT: 20 * time.Millisecond, Dir: t.TempDir()})
	ctx := t.Context()
	if _, err := move(ctx, c, "dc2", true); op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), "dc1 answers") {
		t.Fatalf("by force from a home that is whole: %v", err)
	}
	for _, n := range c.In("dc1")[1:] {
		if err := c.StopNode(ctx, n.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := move(ctx, c, "dc2", false); err == nil || !strings.Contains(err.Error(), "-force") {
		t.Errorf("in order from a home without a majority: %v", err)
	}
	eventually(t, "dc2 takes the role over", 40*time.Second, func(ctx context.Context) error {
		_, err := move(ctx, c, "dc2", true)
		return err
	})
	kept, err := newToken(ctx, c, "dc2", acl.Token{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.In("dc1")[1:] {
		if err := c.StartNode(ctx, n.Name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "dc1 gives way", 30*time.Second, func(ctx context.Context) error {
		if home, err := homeOf(ctx, c, "dc1"); err != nil || home != "dc2" {
			return fmt.Errorf("it takes %q for the home: %w", home, err)
		}
		return hasToken(ctx, c, "dc1", kept.SecretID)
	})
}

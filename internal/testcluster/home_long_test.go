package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/status"
)

// Long form: LEGATE_HOME_TIME=2m. The home moves around while tokens are written from
// everywhere and leaders are stopped at any step; nothing that was acknowledged is lost,
// and in the end there is one home.
func TestTheHomeMovesWhileLeadersAreLost(t *testing.T) {
	t.Parallel()
	total, err := time.ParseDuration(os.Getenv("LEGATE_HOME_TIME"))
	if err != nil {
		t.Skip("set LEGATE_HOME_TIME to a duration")
	}
	c := controlled(t, testcluster.Spec{Datacenters: 3, Servers: 3, RTT: 20 * time.Millisecond, Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), total+2*time.Minute)
	defer cancel()
	stop, enough := context.WithTimeout(ctx, total)
	defer enough()
	results := make(chan map[string]string, 6)
	for i := range cap(results) {
		dc := c.Datacenters()[i%3]
		go func() {
			acknowledged := map[string]string{}
			for n := 0; stop.Err() == nil; n++ {
				try, cancel := context.WithTimeout(ctx, 10*time.Second)
				tok, err := newToken(try, c, dc, acl.Token{Description: fmt.Sprint(i, n)})
				cancel()
				if err == nil {
					acknowledged[tok.AccessorID] = tok.SecretID
				}
			}
			results <- acknowledged
		}()
	}
	moved, failed := 0, 0
	for round := 0; stop.Err() == nil; round++ {
		to, hit := c.Datacenters()[round%3], c.Datacenters()[(round/2)%3]
		lost := leaderNode(ctx, c, hit)
		down := make(chan error, 1)
		go func() {
			t := time.NewTimer(time.Duration(round%7) * 15 * time.Millisecond)
			<-t.C
			if lost == "" {
				down <- nil
				return
			}
			down <- c.StopNode(ctx, lost)
		}()
		if _, err := move(ctx, c, to, false); err != nil {
			failed++
			t.Logf("round %d, %s lost: move to %s: %v", round, lost, to, err)
		} else {
			moved++
		}
		if err := <-down; err != nil {
			t.Fatal(err)
		}
		if lost != "" {
			if err := c.StartNode(ctx, lost); err != nil {
				t.Fatal(err)
			}
		}
		for _, dc := range c.Datacenters() {
			if _, err := c.WaitLeader(ctx, dc); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d moves were made, %d failed", moved, failed)
	all := map[string]string{}
	for range cap(results) {
		for a, s := range <-results {
			all[a] = s
		}
	}
	eventually(t, "one home is left", 30*time.Second, func(ctx context.Context) error {
		_, err := newToken(ctx, c, "dc1", acl.Token{})
		return err
	})
	for _, dc := range c.Datacenters() {
		var asked time.Time
		var last error
		eventually(t, fmt.Sprintf("all %d tokens are in %s", len(all), dc), 30*time.Second, func(ctx context.Context) error {
			if time.Since(asked) < time.Second { // listing them all holds the leader up
				return last
			}
			there, err := tokensOf(ctx, c, dc)
			asked = time.Now()
			missing := 0
			for a, s := range all {
				if there[a] != s {
					missing++
				}
			}
			if err == nil && missing > 0 {
				err = fmt.Errorf("%d of them are not", missing)
			}
			last = err
			return err
		})
	}
}

// leaderNode names the server that leads a datacenter, "" if none does.
func leaderNode(ctx context.Context, c *testcluster.Cluster, dc string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	l, _, err := status.Leader.Call(ctx, at(c, dc), op.Header{}, &op.Empty{})
	if err != nil || l == nil {
		return ""
	}
	for _, n := range c.In(dc) {
		if l.Text == n.IP+":8300" {
			return n.Name
		}
	}
	return ""
}

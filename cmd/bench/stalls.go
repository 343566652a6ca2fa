package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What one command changes at once while others write.
const (
	stallLocks = 100_000
	stallTree  = 500_000
	stallValue = 100
	// stallAfter is how long the writer goes on after the command was acknowledged: what was let go at
	// once is written then.
	stallAfter = 5 * time.Second
	keysRounds = 7
)

// listKeys measures ?keys of the state's keys, one at a time.
func (b *bench) listKeys(leader string) error {
	took := make([]time.Duration, keysRounds)
	for i := range took {
		began := time.Now()
		text, err := get("http://" + leader + ":8500/v1/kv/state/?keys")
		if err != nil {
			return err
		}
		took[i] = time.Since(began)
		if n := strings.Count(text, `"state/`); n != stateKeys {
			return fmt.Errorf("%d keys of %d are listed", n, stateKeys)
		}
	}
	slices.Sort(took)
	b.add(row{what: fmt.Sprintf("Listing their keys (?keys), median and longest of %d", keysRounds), conns: 1,
		out: outcome{p50: took[keysRounds/2], p99: took[keysRounds-1]}, limit: 80 * time.Millisecond})
	return nil
}

// stalls measures for how long the writes of others stand still on three servers while one
// command changes very many keys.
func (b *bench) stalls(ctx context.Context) error {
	leader, _, _, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	base := "http://" + leader + ":8500"
	if err := wait(ctx, 10*time.Second, func() error { return put(base+key, "x") }); err != nil {
		return err
	}
	value := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("v", stallValue)))
	text, err := ask(http.MethodPut, base+"/v1/session/create", `{"LockDelay": "15s"}`)
	if err != nil {
		return err
	}
	var session struct{ ID string }
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		return err
	}
	locks := func(i int) string {
		return fmt.Sprintf(`{"KV":{"Verb":"lock","Key":"locks/%06d","Value":"%s","Session":"%s"}}`, i, value, session.ID)
	}
	tree := func(i int) string {
		return fmt.Sprintf(`{"KV":{"Verb":"set","Key":"tree/%06d","Value":"%s"}}`, i, value)
	}
	for _, c := range []struct {
		what string
		keys int
		op   func(i int) string
		end  func() error
	}{
		{fmt.Sprintf("Longest pause of a writer while a session with %d locks ends", stallLocks), stallLocks, locks, func() error {
			return put(base+"/v1/session/destroy/"+session.ID, "")
		}},
		{fmt.Sprintf("Longest pause of a writer while a tree of %d keys is deleted", stallTree), stallTree, tree, func() error {
			_, err := ask(http.MethodDelete, base+"/v1/kv/tree/?recurse", "")
			return err
		}},
	} {
		transaction := func(from int) string {
			ops := make([]string, 0, perTxn)
			for i := from; i < min(from+perTxn, c.keys); i++ {
				ops = append(ops, c.op(i))
			}
			return "[" + strings.Join(ops, ",") + "]"
		}
		if err := writeKeys(leader, c.keys, transaction); err != nil {
			return fmt.Errorf("write what %s: %w", c.what, err)
		}
		took, err := b.stalled(ctx, leader, c.end)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		b.add(row{what: c.what, conns: 1, out: outcome{p50: took, p99: took}, limit99: 300 * time.Millisecond})
	}
	return nil
}

// stalled returns the longest that one write of another key took from before end until a
// while after it.
func (b *bench) stalled(ctx context.Context, leader string, end func() error) (longest time.Duration, err error) {
	c, err := dialHTTP(leader+":8500", "PUT", "/v1/kv/bench/other", []byte("x"))
	if err != nil {
		return 0, err
	}
	defer c.close()
	ended := make(chan error, 1)
	var once sync.Once
	var ending sync.WaitGroup
	defer ending.Wait()
	var until time.Time
	for until.IsZero() || time.Now().Before(until) {
		asked := time.Now()
		if err := c.ask(ctx); err != nil {
			return 0, err
		}
		longest = max(longest, time.Since(asked))
		once.Do(func() {
			longest = 0 // the first one opens the connection
			ending.Go(func() { ended <- end() })
		})
		select {
		case err := <-ended:
			if err != nil {
				return 0, err
			}
			until = time.Now().Add(stallAfter)
		default:
		}
	}
	if longest == 0 {
		err = errors.New("nothing was written")
	}
	return longest, err
}

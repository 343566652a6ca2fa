//go:build linux

package linear

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/legate-project/legate/internal/linear/judge"
	"github.com/legate-project/legate/internal/proctest"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/kv"
)

// command runs the program against an agent. Its error is what it says when
// it does not end with 0.
func (c *cluster) command(n *node, args ...string) error {
	c.t.Helper()
	flags := []string{"-http-addr=http://" + n.ip + ":8500"}
	at := 1
	if args[0] == "snapshot" {
		at = 2
	}
	r := proctest.Run(c.t, c.home, append(append(append([]string{}, args[:at]...), flags...), args[at:]...)...)
	if r.Code != 0 {
		return fmt.Errorf("%s ended with %d: %s%s", strings.Join(args[:at], " "), r.Code, r.Stdout, r.Stderr)
	}
	return nil
}

// rotations are the faults in which the gossip key is another one afterwards,
// and with it all certificates that are made of it: nothing stands still while
// that is done, and whoever was away meanwhile is not lost.
func rotations() []fault {
	fresh := ""
	install := func(c *cluster, r *rand.Rand) {
		key := make([]byte, 32)
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		fresh = base64.StdEncoding.EncodeToString(key)
		c.until("a new gossip key", func() error { return c.command(c.agent, "keyring", "-install="+fresh) })
	}
	// finish does the steps until everybody has done them.
	finish := func(c *cluster) {
		for _, step := range []string{"-install=" + fresh, "-use=" + fresh, "-remove=" + c.key} {
			c.until("a rotated gossip key", func() error { return c.command(c.agent, "keyring", step) })
		}
		c.key = fresh
		c.whole(patience)
	}
	try := func(c *cluster) { // somebody is away: it may be refused
		if err := c.command(c.agent, "keyring", "-use="+fresh); err != nil {
			c.t.Logf("%20s %v", "", strings.SplitN(err.Error(), "\n", 2)[0])
		}
	}
	return []fault{
		{name: "the gossip key is rotated", strike: install, then: finish},
		{name: "the gossip key is rotated while the leader is dead", strike: func(c *cluster, r *rand.Rand) {
			install(c, r)
			c.kill(c.leader())
			try(c)
		}, then: finish},
		{name: "the gossip key is rotated while one hears nothing", strike: func(c *cluster, r *rand.Rand) {
			install(c, r)
			c.part(only(c.leader()), true, false)
			try(c)
		}, then: finish},
		{name: "the client agent is killed", strike: func(c *cluster, _ *rand.Rand) { c.kill(c.agent) }},
		{name: "the client agent is stopped", strike: func(c *cluster, _ *rand.Rand) { c.agent.Signal(syscall.SIGSTOP) }},
	}
}

// restorations are the faults in which the state goes back to what it was.
// They note it in the history: a snapshot that is saved reads all keys at
// once, one that is restored writes all keys at once.
func restorations() []fault {
	restore := func(c *cluster, between func()) {
		file := filepath.Join(c.t.TempDir(), "saved")
		saved := &judge.Moment{}
		c.until("a snapshot", func() error {
			saved.Call = c.h.Now()
			err := c.command(c.agent, "snapshot", "save", file)
			saved.Return = c.h.Now()
			return err
		})
		values, err := valuesIn(file)
		if err != nil {
			c.t.Fatal(err)
		}
		<-time.After(warmUp)
		between()
		c.restores.Add(1) // until all is settled
		c.until("a restored snapshot", func() error {
			m := judge.Moment{Call: c.h.Now(), Outcome: done}
			err := c.command(c.agent, "snapshot", "restore", file)
			if m.Return = c.h.Now(); err != nil {
				m.Outcome = unknown
			}
			c.h.Restore(*saved, m, values)
			return err
		})
	}
	return []fault{
		{name: "a snapshot is restored", strike: func(c *cluster, _ *rand.Rand) { restore(c, func() {}) }},
		{name: "a snapshot is restored while some are dead", strike: func(c *cluster, r *rand.Rand) {
			restore(c, func() { each(some(c, r), c.kill) })
		}},
		{name: "a snapshot is restored while some hear nothing", strike: func(c *cluster, r *rand.Rand) {
			restore(c, func() { c.part(some(c, r), true, false) })
		}},
	}
}

// valuesIn are the keys and values in a snapshot.
func valuesIn(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	_, err = archive.Read(f, func(r archive.Row) error {
		if !r.Record() || archive.TableName(r.Table()) != "KVS" {
			return nil
		}
		var e kv.Entry
		if _, err := e.UnmarshalMsg(r.Body()); err != nil {
			return err
		}
		values[e.Key] = string(e.Value)
		return nil
	})
	return values, errors.Join(err, f.Close())
}

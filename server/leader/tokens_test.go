package leader

import (
	"fmt"
	"testing"
	"time"

	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl"
)

// The leader removes tokens that have ended, local and global, more than one command
// takes, and leaves the others.
func TestEndedTokensAreRemoved(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.AccessControl = true })
	h.start(t)
	now := time.Now()
	make := func(id string, local bool, ends time.Time) {
		h.group.Commit(t, &acl.SetToken, &acl.SetTokenRequest{Create: true, Token: acl.Token{AccessorID: id, SecretID: "s-" + id, Local: local, ExpirationTime: ends}})
	}
	for _, local := range []bool{true, false} {
		for i := range acl.MaxExpiries + 2 {
			make(fmt.Sprint("ended-", local, "-", i), local, now.Add(-time.Duration(i+1)*time.Second))
		}
		make(fmt.Sprint("ends-", local), local, now.Add(time.Hour))
		make(fmt.Sprint("endless-", local), local, time.Time{})
	}
	var kept []string
	count := func() int {
		v := h.cfg.State.View()
		defer v.Close()
		list, err := acl.ListTokens.Query(v, &acl.TokensRequest{})
		if err != nil {
			t.Fatal(err)
		}
		kept = nil
		for _, token := range *list {
			kept = append(kept, token.AccessorID)
		}
		return len(kept)
	}
	if n := count(); n != 2*(acl.MaxExpiries+4) {
		t.Fatalf("%d tokens before anybody leads", n)
	}
	h.LeadershipChanged(true)
	servertest.Eventually(t, "those that have ended are gone", func() bool { return count() == 5 })
	want := fmt.Sprint([]string{acl.AnonymousAccessor, "endless-false", "endless-true", "ends-false", "ends-true"})
	if got := fmt.Sprint(kept); got != want {
		t.Errorf("%s are left, want %s", got, want)
	}
}

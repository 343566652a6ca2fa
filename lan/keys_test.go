package lan

import (
	"bytes"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
)

// ask has all members do an action on their keyrings.
func ask(t *testing.T, p *Pool, a gossip.KeyAction, key []byte) map[string]gossip.MemberKeys {
	t.Helper()
	list, err := p.AskKeys(t.Context(), gossip.KeyChange{Action: a, Key: key})
	if err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	out := map[string]gossip.MemberKeys{}
	for _, m := range list {
		out[m.Name] = m
	}
	return out
}

func has(m gossip.MemberKeys, keys ...[]byte) bool {
	if !m.Answered || len(m.Keys) != len(keys) {
		return false
	}
	for i, key := range keys {
		if !bytes.Equal(m.Keys[i], key) {
			return false
		}
	}
	return true
}

func TestKeysAreRotatedByTheMembersTogether(t *testing.T) {
	s1, s2 := agent(t, "s1"), agent(t, "s2")
	c1 := agent(t, "c1", client)
	join(t, s2, s1)
	join(t, c1, s1)
	eventually(t, patience, "three members", func() bool { return len(s1.Members()) == 3 })
	for _, step := range []struct {
		action gossip.KeyAction
		key    []byte
		then   [][]byte
	}{
		{gossip.InstallKey, key(2), [][]byte{key(1), key(2)}}, {gossip.InstallKey, key(2), [][]byte{key(1), key(2)}},
		{gossip.UseKey, key(2), [][]byte{key(2), key(1)}}, {gossip.InstallKey, key(3), [][]byte{key(2), key(1), key(3)}},
		{gossip.RemoveKey, key(1), [][]byte{key(2), key(3)}}, {gossip.RemoveKey, key(1), [][]byte{key(2), key(3)}},
		{gossip.RemoveKey, key(3), [][]byte{key(2)}}, {gossip.ListKeys, nil, [][]byte{key(2)}},
	} {
		answers := ask(t, s1, step.action, step.key)
		for _, name := range []string{"s1", "s2", "c1"} {
			if m := answers[name]; !has(m, step.then...) || m.Error != "" || m.Server != (name != "c1") {
				t.Fatalf("%s: %s answers %+v", step.action, name, m)
			}
		}
	}
	// Who has only the old key does not get in, who has the new one does.
	old, fresh := agent(t, "old"), agent(t, "fresh", func(c *Config) { c.Keyring = keyring(t, key(2)) })
	if n, err := old.Join([]string{addr(s1)}); err == nil || n != 0 {
		t.Errorf("with the removed key: joined %d, %v", n, err)
	}
	join(t, fresh, s1)
}

func TestWhatAMemberDoesNotDoIsSaid(t *testing.T) {
	reg := prometheus.NewRegistry()
	s1, s2 := agent(t, "s1", func(c *Config) { c.Registerer = reg }), agent(t, "s2", func(c *Config) { c.Keyring = keyring(t, key(1), key(2)) })
	others := func(want float64) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "legate_gossip_members_with_other_keys" {
				if got := f.GetMetric()[0].GetGauge().GetValue(); got != want {
					t.Errorf("%v members have other keys, want %v", got, want)
				}
				return
			}
		}
		t.Error("nothing says how many members have other keys")
	}
	c1 := agent(t, "c1", client)
	join(t, s2, s1)
	join(t, c1, s1)
	eventually(t, patience, "three members", func() bool { return len(s1.Members()) == 3 && len(s2.Members()) == 3 })
	ask(t, s1, gossip.ListKeys, nil)
	others(1)
	// Who uses a key that others do not have is not understood by them, and answers
	// nothing that they could read, until they have it.
	if got := ask(t, s1, gossip.UseKey, key(2)); got["s1"].Error != gossip.ErrNoSuchKey.Error() || !has(got["s1"], key(1)) || got["s2"].Answered {
		t.Errorf("only s2 has the key that is to be used: %+v", got)
	}
	if got := ask(t, s1, gossip.InstallKey, key(2)); !has(got["s1"], key(1), key(2)) || !has(got["c1"], key(1), key(2)) {
		t.Errorf("all get the key: %+v", got)
	}
	eventually(t, patience, "s2 is understood again", func() bool { return status(s1, "s2") == gossip.Alive && status(s2, "s1") == gossip.Alive })
	if got := ask(t, s1, gossip.UseKey, key(2)); !has(got["s1"], key(2), key(1)) || !has(got["s2"], key(2), key(1)) {
		t.Errorf("all use the key: %+v", got)
	}
	others(0)
	if got := ask(t, s1, gossip.RemoveKey, key(2)); got["s1"].Error != gossip.ErrKeyInUse.Error() || !has(got["s2"], key(2), key(1)) {
		t.Errorf("the key in use is not removed: %+v", got)
	}
	if got := ask(t, s1, gossip.InstallKey, []byte("short")); got["s1"].Error != gossip.ErrKeySize.Error() {
		t.Errorf("no key: %+v", got)
	}
	stop(t, c1)
	eventually(t, patience, "c1 failed", func() bool { return status(s1, "c1") == gossip.Failed })
	if got := ask(t, s1, gossip.InstallKey, key(3)); got["c1"].Answered || got["c1"].Status != gossip.Failed || !has(got["s1"], key(2), key(1), key(3)) {
		t.Errorf("one member is gone: %+v", got)
	}
	open := agent(t, "s3", func(c *Config) { c.Keyring = nil })
	if _, err := open.AskKeys(t.Context(), gossip.KeyChange{Action: gossip.ListKeys}); !errors.Is(err, gossip.ErrNotEncrypted) {
		t.Errorf("without keys: %v", err)
	}
}

package consensus

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// metered starts members with a registry each.
func metered(t *testing.T, size int) ([]*member, map[string]*prometheus.Registry) {
	t.Helper()
	regs := map[string]*prometheus.Registry{}
	members := cluster(t, size, func(c *Config) {
		reg := prometheus.NewRegistry()
		regs[c.NodeID] = reg
		c.Registerer = reg
		c.NameOf = func(id string) string { return "server-" + id }
	})
	return members, regs
}

// reading is the value of a series, or how often it was observed; the labels are
// pairs of name and value. -1: there is none.
func reading(t *testing.T, reg prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "legate_raft_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if !labelled(m, labels) {
				continue
			}
			if h := m.GetHistogram(); h != nil {
				return float64(h.GetSampleCount())
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return -1
}

func labelled(m *dto.Metric, labels []string) bool {
	has := map[string]string{}
	for _, l := range m.GetLabel() {
		has[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if has[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

func others(members []*member, than *member) (out []*member) {
	for _, m := range members {
		if m != than {
			out = append(out, m)
		}
	}
	return out
}

func TestElectionsAreCounted(t *testing.T) {
	members, regs := metered(t, 3)
	lead := leader(t, members)
	sum := func(name string, labels ...string) (total float64) {
		for _, reg := range regs {
			total += reading(t, reg, name, labels...)
		}
		return total
	}
	eventually(t, "one election is won", func() bool {
		return reading(t, regs[lead.id], "elections_won_total") >= 1 && reading(t, regs[lead.id], "election_seconds", "result", "won") >= 1 &&
			reading(t, regs[lead.id], "state", "state", "leader") == 1 && reading(t, regs[lead.id], "state", "state", "candidate") == 0
	})
	if n := sum("votes_asked_total", "kind", "pre-vote", "result", "granted"); n < 1 {
		t.Errorf("%v pre-votes were granted", n)
	}
	if n := sum("votes_given_total", "kind", "vote", "result", "granted"); n < 1 {
		t.Errorf("%v votes were given", n)
	}
	rest := others(members, lead)
	eventually(t, "all know a leader", func() bool {
		return reading(t, regs[rest[0].id], "leader_absent_seconds") == 0 && reading(t, regs[rest[1].id], "leader_absent_seconds") == 0
	})
	before := reading(t, regs[rest[0].id], "leaderless_seconds_total") + reading(t, regs[rest[1].id], "leaderless_seconds_total")
	lead.net.cut(lead.id)
	next := leader(t, rest)
	eventually(t, "the others were without a leader", func() bool {
		return reading(t, regs[rest[0].id], "leaderless_seconds_total")+reading(t, regs[rest[1].id], "leaderless_seconds_total") > before
	})
	eventually(t, "who is alone knows none, and asks in vain", func() bool {
		return reading(t, regs[lead.id], "leader_absent_seconds") > 0.2 &&
			reading(t, regs[lead.id], "votes_asked_total", "kind", "pre-vote", "result", "failed") > 0
	})
	lead.net.heal(lead.id)
	eventually(t, "it has lost its election", func() bool {
		return reading(t, regs[lead.id], "elections_lost_total") >= 1 && reading(t, regs[lead.id], "election_seconds", "result", "lost") >= 1 &&
			reading(t, regs[lead.id], "leader_absent_seconds") == 0
	})
	if n := reading(t, regs[next.id], "elections_won_total"); n < 1 {
		t.Errorf("the second leader won %v elections", n)
	}
}

func TestTransfersAreCounted(t *testing.T) {
	members, regs := metered(t, 2)
	lead := leader(t, members)
	if err := lead.node.TransferLeadership(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	reg := regs[lead.id]
	if a, b, c := reading(t, reg, "transfers_started_total"), reading(t, reg, "transfers_total", "result", "done"),
		reading(t, reg, "transfers_total", "result", "failed"); a != 1 || b != 1 || c != 0 {
		t.Errorf("%v transfers began, %v were done, %v failed", a, b, c)
	}
	if err := lead.node.TransferLeadership(t.Context(), ""); err == nil {
		t.Fatal("who does not lead hands over")
	}
	if n := reading(t, reg, "transfers_total", "result", "failed"); n != 1 {
		t.Errorf("%v transfers failed", n)
	}
}

func TestAFollowersLagIsShownWhereItIsLed(t *testing.T) {
	members, regs := metered(t, 3)
	lead := leader(t, members)
	rest := others(members, lead)
	lag := func(m *member) float64 { return reading(t, regs[lead.id], "peer_lag_entries", "peer", "server-"+m.id) }
	contact := func(m *member) float64 {
		return reading(t, regs[lead.id], "peer_last_contact_seconds", "peer", "server-"+m.id)
	}
	eventually(t, "both answer and lack nothing", func() bool {
		return lag(rest[0]) == 0 && lag(rest[1]) == 0 && contact(rest[0]) >= 0 && contact(rest[0]) < 0.1 && contact(rest[1]) < 0.1
	})
	if n := reading(t, regs[rest[0].id], "peer_lag_entries"); n != -1 {
		t.Errorf("a follower tells of peers: %v", n)
	}
	if n := reading(t, regs[lead.id], "voters"); n != 3 {
		t.Errorf("%v voters", n)
	}
	lead.net.cut(rest[0].id)
	for range 20 {
		if _, err := lead.node.Propose(t.Context(), []byte("k=v")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "who is cut off is behind and silent", func() bool { return lag(rest[0]) >= 20 && contact(rest[0]) > 0.2 })
	if lag(rest[1]) > 0 {
		eventually(t, "the other is not", func() bool { return lag(rest[1]) == 0 && contact(rest[1]) < 0.1 })
	}
	if err := lead.node.RemoveServer(t.Context(), rest[0].id); err != nil {
		t.Fatal(err)
	}
	if n := lag(rest[0]); n != -1 {
		t.Errorf("who was removed is still shown: %v", n)
	}
}

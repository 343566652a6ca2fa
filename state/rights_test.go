package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/txn"
	"github.com/legate-project/legate/storage"
)

// datacenter is a server that leads, with access control, and with what the table of
// requests speaks of.
type datacenter struct {
	*server.Server
	group *servertest.Group
	state *storage.State
}

func newDatacenter(t *testing.T, fill bool) *datacenter {
	t.Helper()
	d := &datacenter{state: servertest.OpenState(t)}
	var err error
	d.Server, err = server.New(server.Config{Datacenter: "dc1", NodeName: "s1", NodeID: servertest.UID("1"), HoldTimeout: time.Second, State: d.state,
		Transport: servertest.Silence{}, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		Access: server.Access{Enabled: true, InitialManagement: servertest.Management}})
	if err != nil {
		t.Fatal(err)
	}
	d.group = servertest.NewGroup(d.state, d.Machine())
	if fill {
		state.Fill(t, func(o op.Operation, req msgp.Marshaler, l op.Leader) error {
			if err := o.(op.Preparable).Ready(l, req); err != nil {
				return err
			}
			d.group.Commit(t, o.(op.Preparable), req)
			return nil
		})
	}
	if err := d.Start(server.Dependencies{Raft: d.group, LAN: servertest.NewPool()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	d.LeadershipChanged(true)
	servertest.Eventually(t, "the leader has begun", func() bool {
		n, _, err := catalog.GetNodeServices.Call(t.Context(), d, op.Header{Token: servertest.Management}, &catalog.NodeRequest{Node: "s1"})
		return err == nil && n != nil && len(n.Services) > 0
	})
	return d
}

// expired makes a token that has ended, and may do everything.
func (d *datacenter) expired(t *testing.T) string {
	t.Helper()
	d.group.Commit(t, &acl.SetToken, &acl.SetTokenRequest{Create: true, Token: acl.Token{AccessorID: "over", SecretID: "over", CreateTime: time.Now().Add(-time.Hour),
		ExpirationTime: time.Now().Add(-time.Minute), Grants: acl.Grants{Policies: []acl.Link{{ID: acl.ManagementID}}}}})
	return "over"
}

// ask is what a secret gets: the result as JSON, "denied: " with why, or "failed".
func (d *datacenter) ask(t *testing.T, secret string, o op.Operation, request any) string {
	t.Helper()
	reply, err := d.Do(t.Context(), op.NewCall(o, op.Header{Token: secret}, request))
	switch {
	case op.CodeOf(err) == op.CodeDenied:
		return "denied: " + op.AsError(err).Text
	case err != nil:
		return "failed: " + err.Error()
	}
	result, err := reply.Result(o)
	if err != nil {
		t.Fatalf("%s: %v", o.OpName(), err)
	}
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fewer are the rules with one left out, or lowered.
func fewer(t *testing.T, text string) []string {
	t.Helper()
	p, err := rules.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var out []string
	for i, r := range p.Rules {
		less := rules.Policy{Rules: slices.Delete(slices.Clone(p.Rules), i, i+1)}
		out = append(out, less.Text())
		if r.Access == rules.Write || r.Access == rules.List {
			less = rules.Policy{Rules: slices.Clone(p.Rules)}
			less.Rules[i].Access = rules.Read
			out = append(out, less.Text())
		}
	}
	return out
}

// timeless is an answer without what time it is.
func timeless(answer string) string {
	return regexp.MustCompile(`"20[0-9-]+T[0-9:.]+Z"`).ReplaceAllString(answer, "now")
}

// Each operation is asked of a server by callers of all kinds. Who shows nothing, or a
// token without rights, is refused or sees what an empty datacenter has; a secret that
// stands for nothing is refused; the rules of the table are enough, and each of them is
// needed. What is refused changes nothing, and errors show no secret.
func TestEachOperationAsksForItsRights(t *testing.T) {
	empty := newDatacenter(t, false)
	for _, o := range state.Everything() {
		rows := state.Asked()[o.OpName()]
		if len(rows) == 0 {
			t.Errorf("%s is not in the table of requests", o.OpName())
		}
		for i, row := range rows {
			fresh := func() any { return state.Asked()[o.OpName()][i].Request }
			t.Run(fmt.Sprintf("%s %d", o.OpName(), i), func(t *testing.T) { checkRights(t, empty, o, row, fresh) })
		}
	}
}

func checkRights(t *testing.T, empty *datacenter, o op.Operation, row state.Asking, fresh func() any) {
	d := newDatacenter(t, true)
	nothing := servertest.Secret(t, d, "")
	over := d.expired(t)
	var less []string
	secrets := []string{nothing, over, "made-up", servertest.Management}
	texts := fewer(t, row.Enough)
	for _, text := range texts {
		less = append(less, servertest.Secret(t, d, text))
	}
	enough := servertest.Secret(t, d, row.Enough)
	secrets = append(append(secrets, less...), enough)
	ask := func(secret string) string {
		got := d.ask(t, secret, o, fresh())
		for _, s := range secrets {
			if strings.HasPrefix(got, "denied") && strings.Contains(got, s) {
				t.Errorf("an error shows a secret: %s", got)
			}
		}
		return got
	}
	for _, secret := range []string{over, "made-up"} {
		if got := ask(secret); got != "denied: ACL not found" {
			t.Errorf("secret %q: %s", secret, got)
		}
	}
	if row.Nobody {
		if got := ask(servertest.Management); !strings.HasPrefix(got, "denied") {
			t.Errorf("who manages all: %s, and it is for leaders alone", got)
		}
		return
	}
	if row.Everybody != "" {
		if got, want := ask(""), ask(servertest.Management); timeless(got) != timeless(want) {
			t.Errorf("it is for everybody, and who shows nothing gets\n%s\nwho manages all\n%s", got, want)
		}
		return
	}
	// The leader would take the token that has ended away at any time.
	if _, _, err := acl.DeleteToken.Call(t.Context(), d, op.Header{Token: servertest.Management}, &acl.AccessorRequest{Accessor: "over"}); err != nil && op.CodeOf(err) != op.CodeNotFound {
		t.Fatal(err)
	}
	full := ""
	if k := o.OpKind(); k == op.KindRead || k == op.KindDirectRead {
		full = ask(servertest.Management)
	}
	before := d.state.View()
	index := before.Index()
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	for i, secret := range append([]string{"", nothing}, less...) {
		got := ask(secret)
		denied := strings.HasPrefix(got, "denied: Permission denied: ")
		switch {
		case denied && secret == "":
			denied = strings.Contains(got, "anonymous token lacks permission")
		case denied:
			denied = strings.Contains(got, "token with AccessorID '") && strings.Contains(got, "lacks permission '")
		case i < 2 && full != "":
			denied = got == empty.ask(t, servertest.Management, o, fresh()) || got == bare(t, o)
		case full != "":
			denied = got != full
		}
		if !denied {
			name := "nothing shown"
			if i > 0 {
				name = fmt.Sprintf("rules %q", append([]string{""}, texts...)[i-1])
			}
			t.Errorf("%s: %s", name, got)
		}
	}
	after := d.state.View()
	if now := after.Index(); now != index {
		t.Errorf("what was refused moved the index from %d to %d", index, now)
	}
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
	switch got := ask(enough); {
	case strings.HasPrefix(got, "denied"):
		t.Errorf("%q is not enough: %s", row.Enough, got)
	case full != "" && got != full:
		t.Errorf("%q shows\n%s\nwho manages all sees\n%s", row.Enough, got, full)
	}
}

// bare is what a read shows of a state that has nothing at all.
func bare(t *testing.T, o op.Operation) string {
	t.Helper()
	if o == &txn.Read { // what it looks for would be missing, not left out
		return `{"Results":[],"Errors":null}`
	}
	q, ok := o.(op.Queryable)
	if !ok {
		return ""
	}
	v := servertest.OpenState(t).View()
	defer func() { _ = v.Close() }()
	result, err := q.Run(v, state.Asked()[o.OpName()][0].Request)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

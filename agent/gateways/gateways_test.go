package gateways

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/identity/identitytest"
)

func key(fill byte) []byte { return []byte(strings.Repeat(string(rune('a'+fill)), 32)) }

func ring(t *testing.T, fills ...byte) *gossip.Keyring {
	t.Helper()
	var keys [][]byte
	for _, f := range fills {
		keys = append(keys, key(f))
	}
	k, err := gossip.NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func peer(name string, server bool) identity.Peer {
	return identity.Peer{Federation: "f", Datacenter: "dc1", NodeID: "id-" + name, Name: name, Server: server}
}

// rights answers who may be a gateway: the node whose name the token is.
type rights struct{ t *testing.T }

// Do implements op.Caller.
func (r rights) Do(_ context.Context, call *op.Call) (*op.Reply, error) {
	req, err := call.Request()
	if err != nil || call.Operation.OpName() != status.Gateway.Name {
		r.t.Errorf("asked for %s, %v", call.Operation.OpName(), err)
	}
	if req.(*status.GatewayRequest).Node != call.Header.Token {
		return nil, op.Errorf(op.CodeDenied, "Permission denied")
	}
	return op.NewReply(op.Meta{}, &op.Empty{}), nil
}

// office is a server that gives gateways what they are.
type office struct {
	Desk
	ask   transport.Protocol
	from  identity.Peer
	away  atomic.Bool
	asked atomic.Int64
}

func open(t *testing.T, lan, wan *gossip.Keyring, policy identity.Policy) *office {
	t.Helper()
	o := &office{from: peer("g", false)}
	self := peer("s", true)
	inside, err := identity.NewDerived(lan.Keys()[0], self, lan.Keys()[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	o.Desk = Desk{LAN: lan, WAN: wan, Files: identity.NewDelegated(self, inside), Caller: rights{t}, Log: slog.New(slog.DiscardHandler)}
	if err := o.Files.SetPolicy(policy); err != nil {
		t.Fatal(err)
	}
	if wan != nil {
		if o.Keys, err = identity.NewDerived(wan.Keys()[0], self, wan.Keys()[1:]...); err != nil {
			t.Fatal(err)
		}
		if err := wan.Follow(func(next [][]byte) error { return o.Keys.SetKeys(next[0], next[1:]...) }); err != nil {
			t.Fatal(err)
		}
	}
	o.ask = o.Protocol(nil)
	return o
}

// RoundTrip implements Calls.
func (o *office) RoundTrip(ctx context.Context, _ transport.Target, _ string, _, body []byte) ([]byte, error) {
	if o.away.Load() {
		return nil, errors.New("away")
	}
	o.asked.Add(1)
	return o.ask.Answer(ctx, transport.Remote{Peer: o.from}, body), nil
}

// one asks once.
func (o *office) one(t *testing.T, token, holds string) answer {
	t.Helper()
	request, _, err := identity.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(question{Token: token, Request: request, Holds: holds})
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(o.ask.Answer(t.Context(), transport.Remote{Peer: o.from}, b), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A server gives what nobody could make a server of, to who may write his node, and says
// otherwise what to do.
func TestWhoIsGivenWhat(t *testing.T) {
	root := identitytest.NewIssuer(t)
	files := identity.Policy{Roots: root.Roots(), Certificate: root.Issue(t, nil)}
	alone := files
	alone.VerifyIncoming, alone.VerifyOutgoing = true, true
	half := files
	half.VerifyIncoming = true
	for name, c := range map[string]struct {
		lan, wan    *gossip.Keyring
		policy      identity.Policy
		token       string
		keys, files bool
		want        string
	}{
		"a key for each pool":                         {ring(t, 1), ring(t, 2), identity.Policy{}, "g", true, false, ""},
		"and certificates from files":                 {ring(t, 1), ring(t, 2), files, "g", true, true, ""},
		"one key":                                     {ring(t, 1), ring(t, 1), identity.Policy{}, "g", false, false, "encrypt_wan"},
		"one key of several":                          {ring(t, 1, 3), ring(t, 2, 3), identity.Policy{}, "g", false, false, "encrypt_wan"},
		"one key, and files that keys count beside":   {ring(t, 1), ring(t, 1), files, "g", false, false, "encrypt_wan"},
		"one key, and files that count for incoming":  {ring(t, 1), ring(t, 1), half, "g", false, false, "encrypt_wan"},
		"one key, and only files say who is a server": {ring(t, 1), ring(t, 1), alone, "g", false, true, ""},
		"no part in the federation":                   {ring(t, 1), nil, identity.Policy{}, "g", false, false, "ports.serf_wan"},
		"a token for another node":                    {ring(t, 1), ring(t, 2), identity.Policy{}, "h", false, false, `node:write on "g"`},
		"no token":                                    {ring(t, 1), ring(t, 2), identity.Policy{}, "", false, false, `node:write on "g"`},
	} {
		o := open(t, c.lan, c.wan, c.policy)
		a := o.one(t, c.token, "")
		if (a.Certificates != nil) != c.keys || (a.Authorities != nil) != c.keys || (a.Delegation != nil) != c.files || (a.Error == "") != (c.want == "") || !strings.Contains(a.Error, c.want) {
			t.Errorf("%s: %d certificates, %d authorities, a delegation of %d, %q", name, len(a.Certificates), len(a.Authorities), len(a.Delegation), a.Error)
		}
		if c.want != "" {
			continue
		}
		if again := o.one(t, c.token, a.State); again.State != a.State || again.Certificates != nil || again.Delegation != nil {
			t.Errorf("%s: asked with what it gives now it gives it again", name)
		}
		if again := o.one(t, "h", a.State); again.Error == "" {
			t.Errorf("%s: who may not be one is told that nothing has changed", name)
		}
	}
	o := open(t, ring(t, 1), ring(t, 2), identity.Policy{})
	for name, p := range map[string]identity.Peer{"a server": peer("g", true), "of another datacenter": {Federation: "f", Datacenter: "dc2", Name: "g"}} {
		o.from = p
		if a := o.one(t, "g", ""); !strings.Contains(a.Error, "client agents of datacenter dc1 alone") || a.Certificates != nil {
			t.Errorf("%s is given %+v", name, a)
		}
	}
	if b := o.ask.Answer(t.Context(), transport.Remote{Peer: o.from}, []byte("nonsense")); !strings.Contains(string(b), "not understood") {
		t.Errorf("nonsense is answered with %s", b)
	}
}

// A gateway that lives is known to all servers at any time: while keys change one after
// another, while its servers are away for a day. When they are away for longer
// than it was given anything it is nobody, and somebody again soon after they are back.
func TestAGatewayFollowsTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(27 * 365 * 24 * time.Hour) // virtual time begins before the authorities
		wan := ring(t, 1)
		o := open(t, ring(t, 0), wan, identity.Policy{})
		self := o.from
		self.Gateway = true
		keys := identity.NewBestowed(self)
		var given, lost atomic.Int64
		a := Applicant{Calls: o, Servers: func() []transport.Target { return []transport.Target{{Name: "s"}} }, Token: func() string { return "g" }, Keys: keys,
			Files: identity.NewDelegated(self, keys), Given: func(gone bool) {
				given.Add(1)
				if gone {
					lost.Add(1)
				}
			}, Log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		known := func() bool {
			synctest.Wait()
			cert := keys.Certificate()
			if cert == nil {
				return false
			}
			_, err := o.Keys.Verify(cert.Certificate, identity.Incoming)
			_, err2 := keys.Verify(o.Keys.Certificate().Certificate, identity.Outgoing)
			return err == nil && err2 == nil
		}
		if !known() || given.Load() != 1 {
			t.Fatal("it is not known at the start")
		}
		for next := byte(2); next < 6; next++ {
			for _, step := range []struct {
				do  gossip.KeyAction
				key byte
			}{{gossip.InstallKey, next}, {gossip.UseKey, next}, {gossip.RemoveKey, next - 1}} {
				if err := wan.Change(step.do, key(step.key)); err != nil {
					t.Fatal(err)
				}
				if !known() {
					t.Errorf("right after %s of key %d it is not known", step.do, step.key)
				}
				<-time.After(2 * askEvery)
			}
		}
		if given.Load() != 13 || lost.Load() != 4 {
			t.Errorf("it was given something %d times, and lost authorities %d times", given.Load(), lost.Load())
		}
		before := given.Load()
		for hour := range 6 * 24 {
			o.away.Store(hour/24%3 == 1 && hour%24 < 23) // nearly a day of three
			if !known() {
				t.Fatalf("in hour %d it is not known", hour)
			}
			<-time.After(time.Hour)
		}
		if n := given.Load() - before; n < 2 || n > 4 {
			t.Errorf("in 6 days it was given something %d times", n)
		}
		o.away.Store(true)
		<-time.After(73 * time.Hour)
		if known() {
			t.Error("after three days without servers it is known")
		}
		o.away.Store(false)
		<-time.After(2 * askEvery)
		if !known() {
			t.Error("soon after they are back it is not known")
		}
		cancel()
		<-done
	})
}

// What a gateway cannot use it says.
func TestADelegationTakesAuthorities(t *testing.T) {
	root := identitytest.NewIssuer(t)
	alone := identity.Policy{Roots: root.Roots(), Certificate: root.Issue(t, nil), VerifyIncoming: true, VerifyOutgoing: true}
	o := open(t, ring(t, 1), ring(t, 1), alone)
	self := o.from
	self.Gateway = true
	keys := identity.NewBestowed(self)
	given := 0
	a := Applicant{Calls: o, Servers: func() []transport.Target { return []transport.Target{{Name: "s"}} }, Token: func() string { return "g" }, Keys: keys,
		Files: identity.NewDelegated(self, keys), Given: func(bool) { given++ }, Log: slog.New(slog.DiscardHandler)}
	request, own, err := identity.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	var has holds
	if err := a.ask(t.Context(), request, own, &has); err == nil || !strings.Contains(err.Error(), "ca_file") || given != 0 {
		t.Errorf("without authorities: %v", err)
	}
	if err := a.Files.SetPolicy(identity.Policy{Roots: root.Roots(), VerifyIncoming: true, VerifyOutgoing: true}); err != nil {
		t.Fatal(err)
	}
	if err := a.ask(t.Context(), request, own, &has); err != nil || given != 1 {
		t.Fatalf("with authorities: %v", err)
	}
	if p, err := o.Files.Verify(a.Files.Certificate().Certificate, identity.Incoming); err != nil || p != self {
		t.Errorf("a server that asks for files sees %v, %v", p, err)
	}
	if p, err := a.Files.Verify(o.Files.Certificate().Certificate, identity.Outgoing); err != nil || !p.Server {
		t.Errorf("it sees %v, %v", p, err)
	}
}

// With each answer a gateway learns which datacenters are removed, so many at most; a server that does not say changes nothing.
func TestAGatewayLearnsWhatIsRemoved(t *testing.T) {
	o := open(t, ring(t, 1), ring(t, 2), identity.Policy{})
	var removed []string
	o.Desk.Removed = func() []string { return removed }
	o.ask = o.Protocol(nil)
	self := o.from
	self.Gateway = true
	keys := identity.NewBestowed(self)
	var told [][]string
	a := Applicant{Calls: o, Servers: func() []transport.Target { return []transport.Target{{Name: "s"}} }, Token: func() string { return "g" }, Keys: keys,
		Files: identity.NewDelegated(self, keys), Given: func(bool) {}, Removed: func(dcs []string) { told = append(told, dcs) }, Log: slog.New(slog.DiscardHandler)}
	request, own, err := identity.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	var has holds
	var many []string
	for i := range 2 * maxRemoved {
		many = append(many, fmt.Sprint("dc", i))
	}
	for _, now := range [][]string{nil, {"dc9", "dc3"}, many, {}} {
		removed = now
		if err := a.ask(t.Context(), request, own, &has); err != nil {
			t.Fatal(err)
		}
		if got := told[len(told)-1]; !slices.Equal(got, now[:min(len(now), maxRemoved)]) {
			t.Errorf("of %d it was told %d", len(now), len(got))
		}
	}
	a.refuse(answer{})
	if len(told) != 4 {
		t.Error("an answer that does not say was taken for one that says that none is removed")
	}
	long := append([]string{"", strings.Repeat("x", maxName+1)}, many...)
	if a.refuse(answer{Removed: &long}); !slices.Equal(told[4], many[:maxRemoved]) {
		t.Errorf("it took %d names", len(told[4]))
	}
}

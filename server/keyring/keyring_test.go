package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

func key(fill byte) []byte { return bytes.Repeat([]byte{fill}, 16) }

func text(fill byte) string { return base64.StdEncoding.EncodeToString(key(fill)) }

// pool is one whose members have keyrings of their own.
type pool struct {
	mu      sync.Mutex
	members []gossip.MemberKeys
	rings   map[string]*gossip.Keyring
	asked   []gossip.KeyAction
}

// member adds one; without keys it does not answer.
func (p *pool) member(t *testing.T, name string, s gossip.Status, server bool, fills ...byte) *pool {
	t.Helper()
	if p.rings == nil {
		p.rings = map[string]*gossip.Keyring{}
	}
	p.members = append(p.members, gossip.MemberKeys{Name: name, Status: s, Server: server})
	var keys [][]byte
	for _, f := range fills {
		keys = append(keys, key(f))
	}
	if len(keys) > 0 {
		k, err := gossip.NewKeyring(keys...)
		if err != nil {
			t.Fatal(err)
		}
		p.rings[name] = k
	}
	return p
}

// AskKeys implements Pool.
func (p *pool) AskKeys(_ context.Context, c gossip.KeyChange) ([]gossip.MemberKeys, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, c.Action)
	out := append([]gossip.MemberKeys(nil), p.members...)
	for i := range out {
		if k := p.rings[out[i].Name]; k != nil {
			if err := k.Change(c.Action, c.Key); err != nil {
				out[i].Error = err.Error()
			}
			out[i].Answered, out[i].Keys = true, k.Keys()
		}
	}
	return out, nil
}

// away is a federation of which one datacenter answers as others do, by its own
// Keyrings, and the rest cannot be reached.
type away map[string]*Keyrings

// Do implements op.Caller.
func (a away) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	k := a[call.Header.Datacenter]
	if k == nil {
		return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter"}
	}
	req, err := call.Request()
	if err != nil {
		return nil, err
	}
	do := k.List
	if call.Operation.OpName() == status.KeyringChange.Name {
		do = k.Change
	}
	if call.Header.Token == "denied" {
		return nil, op.Errorf(op.CodeDenied, "Permission denied")
	}
	out, err := do(ctx, op.Header{}, req.(*status.KeyringRequest))
	if err != nil {
		return nil, err
	}
	return op.NewReply(op.Meta{}, out), nil
}

const (
	alive  = gossip.Alive
	failed = gossip.Failed
)

func change(t *testing.T, k *Keyrings, action string, fill byte, force bool) ([]status.Keyring, error) {
	t.Helper()
	got, err := k.Change(t.Context(), op.Header{}, &status.KeyringRequest{Action: action, Key: key(fill), Force: force})
	if err != nil {
		if code := op.CodeOf(err); code != op.CodeConflict {
			t.Errorf("%s: code %v, want a conflict", action, code)
		}
		return nil, err
	}
	return got.Keyrings, nil
}

// Each row is a federation in some state, and why a key is not used or not removed
// there; "" if it is.
func TestNobodyIsShutOutUnlessThatIsForced(t *testing.T) {
	lan := func() *pool { return new(pool).member(t, "s1", alive, true, 1, 2).member(t, "c1", alive, false, 1, 2) }
	wan := func() *pool {
		return new(pool).member(t, "s1.dc1", alive, true, 1, 2).member(t, "s2.dc2", alive, true, 1, 2)
	}
	far := func() *pool { return new(pool).member(t, "s2", alive, true, 1, 2) }
	used := func() *pool { return new(pool).member(t, "s1", alive, true, 2, 1) }
	for name, c := range map[string]struct {
		lan, wan, far *pool // far: nil if it cannot be reached
		action        string
		key           byte
		why           []string
	}{
		"all have it":                    {lan(), wan(), far(), status.KeysUse, 2, nil},
		"one lacks it":                   {lan().member(t, "c2", alive, false, 1), wan(), far(), status.KeysUse, 2, []string{"1 of the LAN pool of dc1 do not have it (c2): install it first"}},
		"one of another datacenter does": {lan(), wan(), far().member(t, "c9", alive, false, 1), status.KeysUse, 2, []string{"LAN pool of dc2", "c9"}},
		"nobody has it":                  {lan(), wan(), far(), status.KeysUse, 3, []string{"no member of the WAN pool has it", "no member of the LAN pool of dc1 has it", "dc2"}},
		"one that lives is silent":       {lan().member(t, "c2", alive, false), wan(), far(), status.KeysUse, 2, []string{"c2 of the LAN pool of dc1 is alive and did not answer"}},
		"a client has failed":            {lan().member(t, "c2", failed, false), wan(), far(), status.KeysUse, 2, nil},
		"a server has failed":            {lan().member(t, "s3", failed, true), wan(), far(), status.KeysUse, 2, []string{"s3 of the LAN pool of dc1 is failed"}},
		"a datacenter is cut off":        {lan(), wan().member(t, "s3.dc3", failed, true), nil, status.KeysUse, 2, nil},

		"all use another":            {used(), used(), used(), status.KeysRemove, 1, nil},
		"it is in use":               {lan(), wan(), far(), status.KeysRemove, 1, []string{"2 of 2 of the LAN pool of dc1 use it: use another first", "WAN pool", "dc2"}},
		"one still uses it":          {used().member(t, "c2", alive, false, 1, 2), used(), used(), status.KeysRemove, 1, []string{"1 of 2 of the LAN pool of dc1 use it"}},
		"they use different ones":    {used().member(t, "c2", alive, false, 3, 2), used(), used(), status.KeysRemove, 1, []string{"members of the LAN pool of dc1 use 2 different keys"}},
		"one is silent":              {used(), used().member(t, "s9", alive, true), used(), status.KeysRemove, 1, []string{"s9 of the WAN pool is alive and did not answer"}},
		"a server of the WAN failed": {used(), used().member(t, "s9", failed, true), used(), status.KeysRemove, 1, []string{"s9 of the WAN pool is failed"}},
		"a client is gone":           {used().member(t, "c2", failed, false), used(), used(), status.KeysRemove, 1, nil},
		"a datacenter is away":       {used(), used(), nil, status.KeysRemove, 1, []string{"of the LAN pool of dc2 nothing is known: it cannot be reached"}},
	} {
		t.Run(name, func(t *testing.T) {
			others := away{}
			if c.far != nil {
				others["dc2"] = New(Config{Datacenter: "dc2", LAN: c.far})
			}
			k := New(Config{Datacenter: "dc1", LAN: c.lan, WAN: c.wan, Others: func() []string { return []string{"dc2"} }, Caller: others})
			got, err := change(t, k, c.action, c.key, false)
			if (err == nil) != (c.why == nil) {
				t.Fatalf("%v, want the reasons %q", err, c.why)
			}
			if err == nil {
				if len(got) != 3 || !got[0].WAN || got[1].Datacenter != "dc1" || got[2].Datacenter != "dc2" {
					t.Errorf("the answer is %+v", got)
				}
				return
			}
			for _, why := range c.why {
				if !strings.Contains(err.Error(), why) {
					t.Errorf("%v\nwant the reason %q", err, why)
				}
			}
			for _, p := range []*pool{c.lan, c.wan} {
				if len(p.asked) != 1 || p.asked[0] != gossip.ListKeys {
					t.Errorf("refused, and members were asked to %q", p.asked)
				}
			}
			if _, err := change(t, k, c.action, c.key, true); err != nil {
				t.Errorf("by force: %v", err)
			}
		})
	}
}

func TestItIsSaidWhoHasWhichKey(t *testing.T) {
	lan := new(pool).member(t, "s1", alive, true, 2, 1).member(t, "s2", alive, true, 2, 1).member(t, "c1", alive, false, 1).
		member(t, "c2", alive, false).member(t, "c3", failed, false)
	k := New(Config{Datacenter: "dc1", LAN: lan, Others: func() []string { return []string{"dc3"} }, Caller: away{}})
	got, err := k.List(t.Context(), op.Header{}, &status.KeyringRequest{})
	if err != nil || len(got.Keyrings) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	r := got.Keyrings[0]
	if r.NumNodes != 4 || r.Keys[text(1)] != 3 || r.Keys[text(2)] != 2 || r.PrimaryKeys[text(2)] != 2 || r.PrimaryKeys[text(1)] != 1 {
		t.Errorf("counted %+v", r)
	}
	if len(r.Members) != 3 || r.Members[0].Name != "c1" || r.Members[0].Uses != text(1) || len(r.Members[0].Lacks) != 1 || r.Members[0].Lacks[0] != text(2) ||
		r.Members[1].Answered || r.Members[2].Status != "failed" {
		t.Errorf("exceptions are %+v", r.Members)
	}
	if r.Messages["c2"] != "did not answer (alive)" || len(r.Messages) != 2 {
		t.Errorf("messages are %q", r.Messages)
	}
	if faults := append(r.Faults(), got.Keyrings[1].Faults()...); strings.Join(faults, "; ") != "LAN pool of dc1: c2 did not answer; LAN pool of dc3: it cannot be reached" {
		t.Errorf("faults are %q", faults)
	}
	// Who is denied there is not told to wait.
	denying := New(Config{Datacenter: "dc1", LAN: lan, Others: func() []string { return []string{"dc2"} }, Caller: away{"dc2": New(Config{Datacenter: "dc2", LAN: lan})}})
	if got, err := denying.List(t.Context(), op.Header{Token: "denied"}, &status.KeyringRequest{}); err != nil || !got.Keyrings[1].Denied || got.Keyrings[1].Error == "" || r.Denied {
		t.Errorf("denied: %+v, %v", got, err)
	}
	if got.Keyrings[1].Denied {
		t.Error("who cannot be reached has denied it")
	}
	// What is asked of one pool stays there.
	if got, err := k.List(t.Context(), op.Header{}, &status.KeyringRequest{Local: true}); err != nil || len(got.Keyrings) != 1 {
		t.Errorf("the own pool alone: %+v, %v", got, err)
	}
}

func TestWhatMembersSayIsBounded(t *testing.T) {
	p := new(pool)
	for i := range 2 * membersShown {
		name := strings.Repeat("n", 1+i%3) + string(rune('a'+i%26)) + base64.StdEncoding.EncodeToString([]byte{byte(i >> 8), byte(i)})
		p.members = append(p.members, gossip.MemberKeys{Name: name, Status: alive, Answered: true,
			Keys: [][]byte{bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 8)}, Error: "no"})
	}
	got, err := New(Config{Datacenter: "dc1", LAN: p}).List(t.Context(), op.Header{}, &status.KeyringRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r := got.Keyrings[0]
	if len(r.Members) != membersShown || r.More != membersShown || len(r.Keys) > keysShown || len(r.PrimaryKeys) > keysShown || len(r.Messages) > membersShown {
		t.Errorf("%d members and %d more, %d keys, %d messages", len(r.Members), r.More, len(r.Keys), len(r.Messages))
	}
	b, err := got.MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(status.Keyrings).UnmarshalMsg(b); err != nil {
		t.Errorf("what is sent is not taken: %v", err)
	}
}

func TestWhatIsNoKeyIsRefused(t *testing.T) {
	p := new(pool).member(t, "s1", alive, true, 1)
	k := New(Config{Datacenter: "dc1", LAN: p})
	for _, req := range []status.KeyringRequest{{Action: status.KeysInstall, Key: []byte("short")}, {Action: status.KeysInstall}, {Action: "improve", Key: key(1)}, {Action: status.KeysList, Key: key(1)}} {
		if _, err := k.Change(t.Context(), op.Header{}, &req); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%+v: %v", req, err)
		}
	}
	if _, err := New(Config{Datacenter: "dc1"}).List(t.Context(), op.Header{}, &status.KeyringRequest{}); op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), "encrypt") {
		t.Errorf("without keys: %v", err)
	}
}

// apart is a federation whose WAN pool has keys of its own, and this server in it.
func apart(t *testing.T) (k *Keyrings, lan, wan *pool) {
	t.Helper()
	lan = new(pool).member(t, "s1", alive, true, 1).member(t, "c1", alive, false, 1)
	wan = new(pool).member(t, "s1.dc1", alive, true, 5).member(t, "s2.dc2", alive, true, 5)
	far := New(Config{Datacenter: "dc2", LAN: new(pool).member(t, "s2", alive, true, 1)})
	return New(Config{Datacenter: "dc1", LAN: lan, WAN: wan, Rings: Rings{lan.rings["s1"], wan.rings["s1.dc1"]},
		Others: func() []string { return []string{"dc2"} }, Caller: away{"dc2": far}}), lan, wan
}

// Once the WAN pool has keys of its own they are changed by themselves, at a server, and the
// others without them: no step brings the pools a key in common unless that is forced.
func TestTheWANPoolsKeysStayApart(t *testing.T) {
	k, lan, wan := apart(t)
	has := func(p *pool, name string, fills ...byte) {
		t.Helper()
		keys := p.rings[name].Keys()
		ok := len(keys) == len(fills)
		for i := range min(len(keys), len(fills)) {
			ok = ok && bytes.Equal(keys[i], key(fills[i]))
		}
		if !ok {
			t.Errorf("%s has %q, want %v", name, keys, fills)
		}
	}
	got, err := change(t, k, status.KeysInstall, 2, false)
	if err != nil || len(got) != 2 || got[0].WAN || got[1].WAN {
		t.Errorf("a key of LAN pools: %+v, %v", got, err)
	}
	has(lan, "c1", 1, 2)
	has(wan, "s2.dc2", 5)
	if _, err := change(t, k, status.KeysInstall, 5, true); err == nil || !strings.Contains(err.Error(), "one of the WAN pool") {
		t.Errorf("the WAN pool's key for LAN pools: %v", err)
	}
	for _, step := range []struct {
		action string
		fill   byte
		force  bool
		want   string // why not
	}{
		{status.KeysUse, 6, false, "install it first"}, {status.KeysInstall, 6, false, ""}, {status.KeysRemove, 5, false, "use another first"},
		{status.KeysUse, 6, false, ""}, {status.KeysRemove, 5, false, ""}, {status.KeysInstall, 1, false, "one of the LAN pool of dc1"}, {status.KeysInstall, 1, true, ""},
	} {
		got, err := k.OfWAN(t.Context(), op.Header{}, &status.KeyringRequest{Action: step.action, Key: key(step.fill), Force: step.force})
		if (err == nil) != (step.want == "") || err != nil && (op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("%s of key %d: %v, want %q", step.action, step.fill, err, step.want)
		}
		if err == nil && (len(got.Keyrings) != 1 || !got.Keyrings[0].WAN) {
			t.Errorf("%s of key %d: %+v", step.action, step.fill, got)
		}
	}
	has(wan, "s2.dc2", 6, 1)
	has(lan, "s1", 1, 2)
	// With a key in common they are changed together again.
	if got, err := change(t, k, status.KeysInstall, 7, false); err != nil || len(got) != 3 || !got[0].WAN {
		t.Errorf("with a key in common: %+v, %v", got, err)
	}
}

// Over the network nobody is shown the WAN pool's keys, or changes them, whatever he may do.
func TestTheWANPoolsKeysAreForServers(t *testing.T) {
	k, _, wan := apart(t)
	afar := op.WithNetwork(t.Context())
	for _, action := range []string{status.KeysList, status.KeysInstall, status.KeysUse, status.KeysRemove} {
		for _, force := range []bool{false, true} {
			if got, err := k.OfWAN(afar, op.Header{}, &status.KeyringRequest{Action: action, Key: key(6), Force: force}); op.CodeOf(err) != op.CodeDenied {
				t.Errorf("%s: %+v, %v", action, got, err)
			}
		}
	}
	for name, ctx := range map[string]context.Context{"here": t.Context(), "over the network": afar} {
		got, err := k.List(ctx, op.Header{}, &status.KeyringRequest{})
		if err != nil || len(got.Keyrings) != 3 || !got.Keyrings[0].WAN || len(got.Keyrings[0].Faults()) > 0 {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		if shown := got.Keyrings[0].Keys[text(5)] == 2; shown != (ctx == t.Context()) || shown != (got.Keyrings[0].Messages["dc1"] == "") {
			t.Errorf("%s: %+v", name, got.Keyrings[0])
		}
	}
	if len(wan.asked) != 1 {
		t.Errorf("members of the WAN pool were asked to %q", wan.asked)
	}
	if _, err := New(Config{Datacenter: "dc1"}).OfWAN(t.Context(), op.Header{}, &status.KeyringRequest{Action: status.KeysList}); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("without a WAN pool: %v", err)
	}
	k.cfg.Everywhere = func(op.Header) error { return op.Errorf(op.CodeDenied, "Permission denied") }
	if _, err := k.OfWAN(t.Context(), op.Header{}, &status.KeyringRequest{Action: status.KeysInstall, Key: key(6)}); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("who may change keys in one datacenter alone: %v", err)
	}
	for _, req := range []status.KeyringRequest{{Action: "improve", Key: key(1)}, {Action: status.KeysInstall, Key: []byte("short")}} {
		if _, err := k.OfWAN(t.Context(), op.Header{}, &req); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

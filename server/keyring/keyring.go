// Package keyring rotates gossip keys: a server asks the members of the WAN pool and
// of its LAN pool, and has each other datacenter ask those of its own.
//
// It promises that nobody who can be known of is shut out unless that is forced: a key
// is used once all of a pool have it, and removed once all use another. What it says
// is what members answered, not what it expects. It keeps no keys.
package keyring

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

const (
	// elsewhere is how long another datacenter may take: its members have 10 s.
	elsewhere = 15 * time.Second
	// atOnce is how many datacenters are asked at once.
	atOnce = 32
	// reasonsShown bounds how many reasons a refusal names.
	reasonsShown = 8
)

// Pool is a gossip pool whose members can be asked.
type Pool interface {
	AskKeys(ctx context.Context, c gossip.KeyChange) ([]gossip.MemberKeys, error)
}

// Config says whom to ask.
type Config struct {
	Datacenter string
	LAN        Pool
	WAN        Pool // nil without WAN gossip
	// Rings are the keys of this server itself.
	Rings Rings
	// Others lists the other datacenters of the federation; nil for none.
	Others func() []string
	Caller op.Caller // asks them
	// Everywhere refuses a caller who may not change keys in all datacenters: they
	// share the WAN pool. Nil lets everybody.
	Everywhere func(op.Header) error
}

// Rings are the keys of one server for both pools, nil while a pool has none.
type Rings struct{ LAN, WAN *gossip.Keyring }

// Apart reports whether the WAN pool has keys of its own: no client agent has one of them.
func (r Rings) Apart() bool { return r.LAN != nil && r.WAN != nil && !r.WAN.Shares(r.LAN) }

// Keyrings asks for keys and changes them. It is safe for concurrent use.
type Keyrings struct{ cfg Config }

// New returns what asks nobody yet.
func New(cfg Config) *Keyrings { return &Keyrings{cfg} }

// List answers status.KeyringList.
func (k *Keyrings) List(ctx context.Context, h op.Header, req *status.KeyringRequest) (*status.Keyrings, error) {
	list := *req
	list.Action, list.Key = status.KeysList, nil
	return k.ask(ctx, h, &list, &status.KeyringList)
}

// Change answers status.KeyringChange.
func (k *Keyrings) Change(ctx context.Context, h op.Header, req *status.KeyringRequest) (*status.Keyrings, error) {
	switch req.Action {
	case status.KeysInstall, status.KeysUse, status.KeysRemove:
	default:
		return nil, op.Errorf(op.CodeInvalid, "unknown action %q on keyrings", req.Action)
	}
	if n := len(req.Key); n != 16 && n != 24 && n != 32 {
		return nil, op.Errorf(op.CodeInvalid, "a gossip key has 16, 24 or 32 bytes, this has %d", n)
	}
	if req.Action == status.KeysInstall && k.cfg.Rings.Apart() && k.cfg.Rings.WAN.Has(req.Key) {
		return nil, op.Errorf(op.CodeConflict, "the key is one of the WAN pool, which client agents are not to have: make another (legate keygen)")
	}
	if !req.Local && !req.Force && req.Action != status.KeysInstall {
		now, err := k.List(ctx, h, req)
		if err != nil {
			return nil, err
		}
		if err := refuse(req, now.Keyrings); err != nil {
			return nil, err
		}
	}
	return k.ask(ctx, h, req, &status.KeyringChange)
}

// ask asks the pools that are meant. Others carry it out as o.
func (k *Keyrings) ask(ctx context.Context, h op.Header, req *status.KeyringRequest, o *op.Direct[status.KeyringRequest, status.Keyrings]) (*status.Keyrings, error) {
	var others []string
	if !req.Local && k.cfg.Others != nil {
		others = k.cfg.Others()
	}
	var lan, wan status.Keyring
	var failed error
	far := make([]status.Keyring, len(others))
	var g errgroup.Group
	g.SetLimit(atOnce)
	g.Go(func() error { lan, failed = k.pool(ctx, req, k.cfg.LAN, false); return nil })
	apart := k.cfg.Rings.Apart()
	withWAN := k.cfg.WAN != nil && !req.Local && (!apart || req.Action == status.KeysList && !op.OverNetwork(ctx))
	if withWAN {
		g.Go(func() error {
			wan = status.Keyring{WAN: true, Datacenter: k.cfg.Datacenter}
			var err error
			if req.Action != status.KeysList && k.cfg.Everywhere != nil {
				err = k.cfg.Everywhere(h)
			}
			if err == nil {
				wan, err = k.pool(ctx, req, k.cfg.WAN, true)
			}
			if err != nil {
				wan = unknown(wan, err.Error()) // this server may have left the federation
				wan.Denied = op.CodeOf(err) == op.CodeDenied
			}
			return nil
		})
	}
	for i, dc := range others {
		g.Go(func() error {
			far[i] = k.elsewhere(ctx, op.Header{Datacenter: dc, Token: h.Token, Consistency: op.Stale}, req, o)
			return nil
		})
	}
	_ = g.Wait() // each says in its own place what went wrong
	if failed != nil {
		return nil, op.Errorf(op.CodeConflict, "%v", failed)
	}
	out := &status.Keyrings{}
	switch {
	case withWAN:
		out.Keyrings = append(out.Keyrings, wan)
	case apart && !req.Local && req.Action == status.KeysList:
		wan = unknown(status.Keyring{WAN: true, Datacenter: k.cfg.Datacenter}, hidden)
		wan.Error = "" // nothing is wrong
		out.Keyrings = append(out.Keyrings, wan)
	}
	out.Keyrings = append(append(out.Keyrings, lan), far...)
	return out, nil
}

// hidden is what is said of the WAN pool's keys to who is not to have them.
const hidden = "the WAN pool has keys of its own, which a server shows by its own HTTP interface alone"

// OfWAN answers status.KeyringWAN. Others than this server's own interfaces are refused,
// whatever they may do: a gateway that is taken over knows the secrets that are shown to it.
func (k *Keyrings) OfWAN(ctx context.Context, h op.Header, req *status.KeyringRequest) (*status.Keyrings, error) {
	lists := req.Action == status.KeysList
	switch {
	case op.OverNetwork(ctx):
		return nil, op.Errorf(op.CodeDenied, "keys of the WAN pool alone are for servers: ask the HTTP interface of one, in its own datacenter")
	case k.cfg.WAN == nil:
		return nil, op.Errorf(op.CodeConflict, "this server takes no part in the federation (ports.serf_wan)")
	case !lists && req.Action != status.KeysInstall && req.Action != status.KeysUse && req.Action != status.KeysRemove:
		return nil, op.Errorf(op.CodeInvalid, "unknown action %q on keyrings", req.Action)
	case !lists && len(req.Key) != 16 && len(req.Key) != 24 && len(req.Key) != 32:
		return nil, op.Errorf(op.CodeInvalid, "a gossip key has 16, 24 or 32 bytes, this has %d", len(req.Key))
	case req.Action == status.KeysInstall && !req.Force && k.cfg.Rings.Apart() && k.cfg.Rings.LAN.Has(req.Key):
		return nil, op.Errorf(op.CodeConflict, "the key is one of the LAN pool of %s: with it every client agent could be a server of any datacenter, and gateways would get no identity (-force does it all the same)", k.cfg.Datacenter)
	}
	if !lists && k.cfg.Everywhere != nil {
		if err := k.cfg.Everywhere(h); err != nil {
			return nil, err
		}
	}
	if req.Action == status.KeysUse && !req.Force || req.Action == status.KeysRemove && !req.Force {
		now, err := k.pool(ctx, &status.KeyringRequest{Action: status.KeysList, Relay: req.Relay}, k.cfg.WAN, true)
		if err == nil {
			err = refuse(req, []status.Keyring{now})
		}
		if err != nil {
			return nil, err
		}
	}
	out, err := k.pool(ctx, req, k.cfg.WAN, true)
	if err != nil {
		return nil, op.Errorf(op.CodeConflict, "%v", err)
	}
	return &status.Keyrings{Keyrings: []status.Keyring{out}}, nil
}

// pool asks the members of one pool.
func (k *Keyrings) pool(ctx context.Context, req *status.KeyringRequest, p Pool, wan bool) (status.Keyring, error) {
	out := status.Keyring{WAN: wan, Datacenter: k.cfg.Datacenter}
	err := gossip.ErrNotEncrypted
	var members []gossip.MemberKeys
	if p != nil {
		members, err = p.AskKeys(ctx, gossip.KeyChange{Action: gossip.KeyAction(req.Action), Key: req.Key, Relay: req.Relay})
	}
	if errors.Is(err, gossip.ErrNotEncrypted) {
		return out, errors.New("gossip has no key: set \"encrypt\" (make a key with: legate keygen)")
	}
	if err != nil {
		return out, err
	}
	summarize(&out, members)
	return out, nil
}

// elsewhere has another datacenter ask the members of its LAN pool.
func (k *Keyrings) elsewhere(ctx context.Context, h op.Header, req *status.KeyringRequest, o *op.Direct[status.KeyringRequest, status.Keyrings]) status.Keyring {
	ctx, cancel := context.WithTimeout(ctx, elsewhere)
	defer cancel()
	local := *req
	local.Local = true
	got, _, err := o.Call(ctx, k.cfg.Caller, h, &local)
	if err == nil && (got == nil || len(got.Keyrings) != 1) {
		err = errors.New("its answer makes no sense")
	}
	if err != nil {
		why := err.Error()
		switch op.CodeOf(err) {
		case op.CodeUnreachableDatacenter:
			why = "it cannot be reached"
		case op.CodeUnsupported:
			why = "its servers do not rotate keys: they are of an earlier version"
		case op.CodeTimeout:
			why = "it did not answer in time"
		}
		return unknown(status.Keyring{Datacenter: h.Datacenter, Denied: op.CodeOf(err) == op.CodeDenied}, why)
	}
	out := got.Keyrings[0]
	out.Datacenter = h.Datacenter // whatever it says: that is who was asked
	return out
}

// unknown is a pool of which nothing is known.
func unknown(k status.Keyring, why string) status.Keyring {
	k.Error, k.Messages, k.Keys, k.PrimaryKeys = why, map[string]string{k.Datacenter: why}, map[string]int{}, map[string]int{}
	return k
}

// refuse says why a key is not used, or not removed; nil if it may be.
func refuse(req *status.KeyringRequest, now []status.Keyring) error {
	var why []string
	key := base64.StdEncoding.EncodeToString(req.Key)
	for i := range now {
		if req.Action == status.KeysUse {
			why = append(why, unfitToUse(&now[i], key)...)
		} else {
			why = append(why, unfitToRemove(&now[i], key)...)
		}
	}
	if len(why) == 0 {
		return nil
	}
	if n := len(why) - reasonsShown; n > 0 {
		why = append(why[:reasonsShown], fmt.Sprintf("and %d more", n))
	}
	return op.Errorf(op.CodeConflict, "the key is not %sd, nothing was changed, since members would be shut out (-force does it all the same): %s",
		req.Action, strings.Join(why, "; "))
}

// unfitToUse: members of a pool that do not have the key would not understand those
// that use it. Other datacenters understand each other as long as they have any key in
// common, so those that are away do not matter.
func unfitToUse(k *status.Keyring, key string) []string {
	if k.Error != "" {
		return nil
	}
	if k.Keys[key] == 0 {
		return []string{"no member of the " + k.Pool() + " has it: install it first"}
	}
	out := silent(k, !k.WAN)
	if lack := answered(k) - k.Keys[key]; lack > 0 {
		out = append(out, fmt.Sprintf("%d of the %s do not have it (%s): install it first", lack, k.Pool(), lackers(k, key)))
	}
	return out
}

// unfitToRemove: who does not use another key yet would have none in common with the
// others.
func unfitToRemove(k *status.Keyring, key string) []string {
	if k.Error != "" {
		return []string{"of the " + k.Pool() + " nothing is known: " + k.Error}
	}
	out := silent(k, true)
	if n := k.PrimaryKeys[key]; n > 0 {
		out = append(out, fmt.Sprintf("%d of %d of the %s use it: use another first", n, answered(k), k.Pool()))
	} else if len(k.PrimaryKeys) > 1 {
		out = append(out, fmt.Sprintf("members of the %s use %d different keys: use one first", k.Pool(), len(k.PrimaryKeys)))
	}
	return out
}

// silent names members that did not answer: those that live and, if they are asked
// for, servers that failed.
func silent(k *status.Keyring, failed bool) []string {
	var out []string
	for i := range k.Members {
		m := &k.Members[i]
		if !m.Answered && (m.Status == gossip.Alive.String() || failed && m.Server) {
			out = append(out, fmt.Sprintf("%s of the %s is %s and did not answer", m.Name, k.Pool(), m.Status))
		}
	}
	return out
}

// answered is how many members answered: each uses one key.
func answered(k *status.Keyring) int {
	n := 0
	for _, some := range k.PrimaryKeys {
		n += some
	}
	return n
}

package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/serf/serf"
)

// Serf has queries of its own that change keyrings. They change the one list that
// memberlist decrypts with, answer before anybody else on the node knows, and tell who
// asked how many did what, not who. So this is a query of ours: a member answers
// when the key is kept and accepted by all of it, with its keys.
const (
	keysQuery = "legate-keys"
	// keysWaiting is how many such queries wait to be carried out.
	keysWaiting = 16
	// keysPatience is how long members that live and do not answer are asked again
	// and again: queries and answers are packets, and may be lost.
	keysPatience = 10 * time.Second
	// keysRoundMin and keysRoundMax bound how long a round waits for answers; in
	// between is the time in which a pool of its size spreads a query.
	keysRoundMin, keysRoundMax = time.Second, 5 * time.Second
	// keysSettle is how often it is looked whether the keyring was changed in
	// another way.
	keysSettle = 5 * time.Second
	// keysLook is how often one server of a pool asks whether all have the same keys.
	keysLook = 10 * time.Minute
	// maxKeyError bounds what is shown of a member's error, in bytes.
	maxKeyError = 200
)

// KeyChange is what is asked of the keyrings of all members.
type KeyChange struct {
	Action KeyAction
	Key    []byte // of 16, 24 or 32 bytes; none for ListKeys
	Relay  uint8  // through how many others each answer is sent as well
}

// MemberKeys is what became of asking one member.
type MemberKeys struct {
	Name   string
	Status Status
	Server bool
	// Answered: Keys are the member's after the change, the one in use first. They
	// are secret.
	Answered bool
	Keys     [][]byte
	// Error says why it did not do what was asked.
	Error string
}

// keyOrder and keyAnswer are the query and its answer on the wire.
type keyOrder struct {
	Action string
	Key    []byte
}

type keyAnswer struct {
	Keys  [][]byte
	Error string
}

// AskKeys asks all members for an action on their keyrings, this node included, and
// returns what each that has not left answered, in order of their names. It ends when
// all that live have answered, or after 10 s. ErrNotEncrypted: there are no
// keyrings.
func (p *Pool) AskKeys(ctx context.Context, c KeyChange) ([]MemberKeys, error) {
	if p.cfg.Keyring == nil {
		return nil, fmt.Errorf("ask the %s pool for its keys: %w", p.cfg.Pool, ErrNotEncrypted)
	}
	var order []byte
	if err := codec.NewEncoderBytes(&order, &codec.MsgpackHandle{}).Encode(&keyOrder{string(c.Action), c.Key}); err != nil {
		return nil, fmt.Errorf("ask the %s pool for its keys: %w", p.cfg.Pool, err)
	}
	var out []MemberKeys
	at := map[string]int{}
	for _, m := range p.Members() {
		if m.Status != Left {
			at[m.Name] = len(out)
			out = append(out, MemberKeys{Name: m.Name, Status: m.Status, Server: m.Role() == RoleServer})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, keysPatience)
	defer cancel()
	for ctx.Err() == nil && !allAnswered(out) {
		err := p.askKeys(ctx, order, c.Relay, func(from string, payload []byte) (all bool) {
			if i, ok := at[from]; ok {
				out[i].take(payload)
			}
			return allAnswered(out)
		})
		if err != nil {
			return nil, fmt.Errorf("ask the %s pool for its keys: %w", p.cfg.Pool, err)
		}
	}
	p.metrics.otherKeys.Store(int64(otherKeys(out, p.cfg.Keyring.Keys())))
	return out, nil
}

// otherKeys counts the members that live and have other keys, or did not say.
func otherKeys(members []MemberKeys, own [][]byte) (n int) {
	for i := range members {
		if m := &members[i]; m.Status == Alive && !sameKeys(m.Keys, own) {
			n++
		}
	}
	return n
}

// sameKeys: the order of those that are not in use means nothing.
func sameKeys(a, b [][]byte) bool {
	if len(a) != len(b) || len(a) == 0 || !bytes.Equal(a[0], b[0]) {
		return false
	}
	return !slices.ContainsFunc(a, func(one []byte) bool {
		return !slices.ContainsFunc(b, func(other []byte) bool { return bytes.Equal(one, other) })
	})
}

// lookAtKeys asks from time to time whether all have the same keys, if this is the
// server whose name sorts first.
func (p *Pool) lookAtKeys(ctx context.Context) {
	t := time.NewTicker(keysLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if p.cfg.Keyring == nil || !p.firstServer() {
			p.metrics.otherKeys.Store(0)
			continue
		}
		if _, err := p.AskKeys(ctx, KeyChange{Action: ListKeys}); err != nil {
			p.log.Debug("ask whether all members have the same gossip keys", "pool", p.cfg.Pool, "error", err)
		}
	}
}

// firstServer reports whether no live server's name sorts before this node's.
func (p *Pool) firstServer() bool {
	for _, m := range p.Members() {
		if m.Status == Alive && m.Role() == RoleServer {
			return m.Name == p.cfg.NodeName
		}
	}
	return false
}

// askKeys asks once and hands on answers until heard reports that there are no more
// to wait for.
func (p *Pool) askKeys(ctx context.Context, order []byte, relay uint8, heard func(from string, payload []byte) bool) error {
	params := p.serf.DefaultQueryParams()
	params.RelayFactor, params.Timeout = relay, min(max(params.Timeout, keysRoundMin), keysRoundMax)
	answers, err := p.serf.Query(keysQuery, order, params)
	if err != nil {
		return err
	}
	defer answers.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case a, open := <-answers.ResponseCh():
			if !open || heard(a.From, a.Payload) {
				return nil
			}
		}
	}
}

// allAnswered reports whether nobody is left who could answer.
func allAnswered(members []MemberKeys) bool {
	for i := range members {
		if m := &members[i]; !m.Answered && m.Status == Alive {
			return false
		}
	}
	return true
}

// take reads an answer.
func (m *MemberKeys) take(payload []byte) {
	var a keyAnswer
	err := codec.NewDecoderBytes(payload, &codec.MsgpackHandle{}).Decode(&a)
	for _, key := range a.Keys {
		if len(key) == 0 || len(key) > 32 {
			err = errors.New("not a key")
		}
	}
	m.Answered, m.Keys, m.Error = true, a.Keys, a.Error[:min(len(a.Error), maxKeyError)]
	if err != nil || len(a.Keys) > MaxKeys {
		m.Keys, m.Error = nil, "its answer makes no sense"
	}
}

// query takes queries of Serf; those that are not ours are dropped. Changes are kept
// on disk, so the pump does not wait for them.
func (p *Pool) query(q *serf.Query) {
	if q.Name != keysQuery {
		return
	}
	select {
	case p.queries <- q:
	default: // it is asked again
	}
}

// answerKeys carries out what is asked of this member's keyring.
func (p *Pool) answerKeys(ctx context.Context) {
	t := time.NewTicker(keysSettle)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-p.queries:
			p.answerKeysOf(q)
		case <-t.C:
			if p.cfg.Keyring == nil {
				continue
			}
			if err := p.cfg.Keyring.settle(); err != nil {
				p.log.Error("the gossip keys were changed, and this member does not follow", "pool", p.cfg.Pool, "error", err)
			}
		}
	}
}

func (p *Pool) answerKeysOf(q *serf.Query) {
	var order keyOrder
	err := codec.NewDecoderBytes(q.Payload, &codec.MsgpackHandle{}).Decode(&order)
	if err == nil {
		err = p.changeKeys(KeyAction(order.Action), order.Key, q.SourceNode())
	}
	answer := keyAnswer{Keys: p.cfg.Keyring.Keys()}
	if err != nil {
		answer.Error = err.Error()[:min(len(err.Error()), maxKeyError)]
	}
	var b []byte
	if err := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{}).Encode(&answer); err != nil {
		p.log.Error("say what became of the gossip keys", "pool", p.cfg.Pool, "error", err)
		return
	}
	if err := q.Respond(b); err != nil { // who asked asks again
		p.log.Debug("say what became of the gossip keys", "pool", p.cfg.Pool, "to", q.SourceNode(), "error", err)
	}
}

// changeKeys changes this member's keyring and logs that, never a key.
func (p *Pool) changeKeys(a KeyAction, key []byte, from string) error {
	if p.cfg.Keyring == nil {
		return ErrNotEncrypted
	}
	before := p.cfg.Keyring.Keys()
	err := p.cfg.Keyring.Change(a, key)
	after := p.cfg.Keyring.Keys()
	switch {
	case err != nil:
		p.log.Warn("a change of the gossip keys was refused", "pool", p.cfg.Pool, "action", string(a), "from", from, "error", err)
	case len(before) != len(after) || string(before[0]) != string(after[0]):
		p.log.Info("the gossip keys changed", "pool", p.cfg.Pool, "action", string(a), "from", from, "keys", len(after))
	}
	return err
}

package gossip

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/hashicorp/serf/serf"
)

// ErrNotEncrypted is returned by the keyring operations of a pool that was
// started without keys.
var ErrNotEncrypted = errors.New("gossip is not encrypted")

// KeyAction is an operation on the keyrings of all members.
type KeyAction int

// The actions.
const (
	ListKeys KeyAction = iota
	InstallKey
	UseKey
	RemoveKey
)

// KeyReport says how the members answered.
type KeyReport struct {
	Nodes, Answers, Errors int
	Messages               map[string]string // by member, of those that had something to say
	Keys                   map[string]int    // how many members have a key, by base64
	PrimaryKeys            map[string]int    // how many members encrypt with it
}

// ChangeKeys does an action on the keyrings of all members and waits for
// their answers; the error tells that some failed, the report which. relay is
// through how many others each answer is sent as well.
func (p *Pool) ChangeKeys(action KeyAction, key []byte, relay uint8) (KeyReport, error) {
	if p.keyring == nil {
		return KeyReport{}, ErrNotEncrypted
	}
	keys := p.serf.KeyManager()
	text := base64.StdEncoding.EncodeToString(key)
	opts := &serf.KeyRequestOptions{RelayFactor: relay}
	var answer *serf.KeyResponse
	var err error
	switch action {
	case InstallKey:
		answer, err = keys.InstallKeyWithOptions(text, opts)
	case UseKey:
		answer, err = keys.UseKeyWithOptions(text, opts)
	case RemoveKey:
		answer, err = keys.RemoveKeyWithOptions(text, opts)
	case ListKeys:
		answer, err = keys.ListKeysWithOptions(opts)
	default:
		return KeyReport{}, fmt.Errorf("unknown action %d on the keyring", action)
	}
	var report KeyReport
	if answer != nil {
		report = KeyReport{Nodes: answer.NumNodes, Answers: answer.NumResp, Errors: answer.NumErr,
			Messages: answer.Messages, Keys: answer.Keys, PrimaryKeys: answer.PrimaryKeys}
	}
	if err != nil {
		return report, fmt.Errorf("change keyrings of %s pool: %w", p.cfg.Pool, err)
	}
	return report, nil
}

// Keys returns this member's keys, the one in use first; none if the pool is
// not encrypted. They are secret.
func (p *Pool) Keys() [][]byte {
	if p.keyring == nil {
		return nil
	}
	return p.keyring.GetKeys()
}

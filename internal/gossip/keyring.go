package gossip

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// MaxKeys bounds how many keys a keyring holds: what a member says of its keyring
// travels in one packet, and each key costs a certificate in each handshake.
const MaxKeys = 8

// Why a keyring is not changed, or not read.
var (
	// ErrNotEncrypted is the answer of a pool without keys.
	ErrNotEncrypted = errors.New("gossip has no key")
	ErrKeySize      = errors.New("a gossip key has 16, 24 or 32 bytes")
	ErrManyKeys     = errors.New("the keyring is full: remove a key first")
	ErrNoSuchKey    = errors.New("the key is not installed")
	ErrKeyInUse     = errors.New("the key is in use: use another one first")
	ErrBadKeyring   = errors.New("that is no keyring: want a JSON list of keys in base64")
)

// KeyAction is an operation on keyrings.
type KeyAction string

// The actions. InstallKey adds a key that is accepted from then on, UseKey makes an
// installed one the one that is shown, RemoveKey ends the life of one. All may be
// repeated.
const (
	ListKeys   KeyAction = "list"
	InstallKey KeyAction = "install"
	UseKey     KeyAction = "use"
	RemoveKey  KeyAction = "remove"
)

// Keyring is the keys of one pool on this node: the first is in use, all are
// accepted. It is safe for concurrent use.
//
// A change is kept, then told to those who follow, then made: who hears that a key is
// installed may rely on it that this node accepts it everywhere.
type Keyring struct {
	ring *memberlist.Keyring
	save func([]byte) error

	mu     sync.Mutex // held by who changes it
	told   [][]byte   // what was last kept and told
	follow []func(keys [][]byte) error
}

// OpenKeyring makes a keyring of what was kept, which counts, or if that is nothing of
// the configured key, which is then kept. Save keeps what may be given to
// OpenKeyring again, nil for nowhere. With no key at all the keyring is nil: gossip
// is not encrypted. A kept one that cannot be read is ErrBadKeyring.
func OpenKeyring(kept, configured []byte, save func([]byte) error) (*Keyring, error) {
	keys := [][]byte{configured}
	if len(kept) > 0 {
		var err error
		if keys, err = decodeKeyring(kept); err != nil {
			return nil, err
		}
	} else if len(configured) == 0 {
		return nil, nil
	}
	k, err := NewKeyring(keys...)
	if err != nil {
		return nil, err
	}
	k.save = save
	if len(kept) == 0 {
		return k, k.keep(keys)
	}
	return k, nil
}

// NewKeyring makes a keyring that is kept nowhere; the first key is in use.
func NewKeyring(keys ...[]byte) (*Keyring, error) {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return nil, fmt.Errorf("make a keyring: want 1 to %d keys, got %d", MaxKeys, len(keys))
	}
	ring, err := memberlist.NewKeyring(keys[1:], keys[0])
	if err != nil {
		return nil, fmt.Errorf("make a keyring: %w", ErrKeySize)
	}
	return &Keyring{ring: ring, told: ring.GetKeys()}, nil
}

// decodeKeyring reads the form of Consul's files. No error shows what it read.
func decodeKeyring(b []byte) ([][]byte, error) {
	var texts []string
	if err := json.Unmarshal(b, &texts); err != nil {
		return nil, ErrBadKeyring
	}
	if len(texts) == 0 || len(texts) > MaxKeys {
		return nil, fmt.Errorf("%w: want 1 to %d of them, it has %d", ErrBadKeyring, MaxKeys, len(texts))
	}
	var keys [][]byte
	for i, text := range texts {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%w: key %d of it is not", ErrBadKeyring, i+1)
		}
		if memberlist.ValidateKey(key) != nil {
			return nil, fmt.Errorf("%w, key %d of it has %d: %w", ErrBadKeyring, i+1, len(key), ErrKeySize)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (k *Keyring) keep(keys [][]byte) error {
	if k.save == nil {
		return nil
	}
	b, err := encodeKeyring(keys)
	if err != nil {
		return err
	}
	return k.save(b)
}

func encodeKeyring(keys [][]byte) ([]byte, error) {
	texts := []string{}
	for _, key := range keys {
		texts = append(texts, base64.StdEncoding.EncodeToString(key))
	}
	b, err := json.Marshal(texts)
	return append(b, '\n'), err
}

// Encode returns the keys in the form in which they are kept: a JSON list of keys in
// base64, the one in use first. It is secret.
func (k *Keyring) Encode() ([]byte, error) { return encodeKeyring(k.Keys()) }

// Keys returns the keys, the one in use first; none of a nil keyring. They are secret.
func (k *Keyring) Keys() [][]byte {
	if k == nil {
		return nil
	}
	return slices.Clone(k.ring.GetKeys())
}

// Has reports whether the key is installed.
func (k *Keyring) Has(key []byte) bool {
	return slices.ContainsFunc(k.Keys(), func(one []byte) bool { return bytes.Equal(one, key) })
}

// Shares reports whether two keyrings have a key in common. A nil one has none.
func (k *Keyring) Shares(other *Keyring) bool { return slices.ContainsFunc(k.Keys(), other.Has) }

// Follow calls f with the keys now and before each change of them, one call at a
// time. What f refuses is not changed.
func (k *Keyring) Follow(f func(keys [][]byte) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := f(k.Keys()); err != nil {
		return err
	}
	k.follow = append(k.follow, f)
	return nil
}

// Change does an action on this node alone; what is so already stays so.
func (k *Keyring) Change(a KeyAction, key []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, err := changed(k.Keys(), a, key)
	if err != nil {
		return err
	}
	if err := k.tell(next); err != nil {
		return err
	}
	switch a {
	case InstallKey:
		err = k.ring.AddKey(key)
	case UseKey:
		err = k.ring.UseKey(key)
	case RemoveKey:
		err = k.remove(key)
	}
	k.told = k.Keys()
	return err
}

// tell keeps new keys and tells those who follow; k.mu is held.
func (k *Keyring) tell(next [][]byte) error {
	if slices.EqualFunc(next, k.told, bytes.Equal) {
		return nil
	}
	if err := k.keep(next); err != nil {
		return fmt.Errorf("keep the keyring: %w", err)
	}
	for _, f := range k.follow {
		if err := f(next); err != nil {
			return err
		}
	}
	k.told = next
	return nil
}

// settle keeps and tells what changed behind this keyring's back, as Serf's own
// queries do.
func (k *Keyring) settle() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tell(k.Keys())
}

// remove takes a key out. The library does so in place, under the eyes of those who
// decrypt at the time, unless it is the last of the list: so it is made the last.
// To use each of those behind it for an instant moves them before it.
func (k *Keyring) remove(key []byte) error {
	keys := k.Keys()
	at := slices.IndexFunc(keys, func(one []byte) bool { return bytes.Equal(one, key) })
	if at < 0 {
		return nil
	}
	for _, behind := range keys[at+1:] {
		if err := k.ring.UseKey(behind); err != nil {
			return err
		}
	}
	if err := k.ring.UseKey(keys[0]); err != nil {
		return err
	}
	return k.ring.RemoveKey(key)
}

// changed is the keys after an action.
func changed(keys [][]byte, a KeyAction, key []byte) ([][]byte, error) {
	at := slices.IndexFunc(keys, func(one []byte) bool { return bytes.Equal(one, key) })
	switch a {
	case ListKeys:
		return keys, nil
	case InstallKey:
		switch {
		case at >= 0:
			return keys, nil
		case memberlist.ValidateKey(key) != nil:
			return nil, ErrKeySize
		case len(keys) >= MaxKeys:
			return nil, ErrManyKeys
		}
		return append(keys, key), nil
	case UseKey:
		if at < 0 {
			return nil, ErrNoSuchKey
		}
		return append([][]byte{key}, slices.Delete(keys, at, at+1)...), nil
	case RemoveKey:
		switch {
		case at == 0:
			return nil, ErrKeyInUse
		case at < 0:
			return keys, nil
		}
		return slices.Delete(keys, at, at+1), nil
	}
	return nil, fmt.Errorf("unknown action %q on a keyring", a)
}

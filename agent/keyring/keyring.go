// Package keyring opens the gossip keys of an agent's pools, and has certificates
// follow them.
//
// It promises that what is kept counts more than what is configured, as in Consul, and
// that a broken file is refused and not replaced. It does not change keys: members
// of a pool do that together (internal/gossip).
package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/transport/identity"
)

// Names and bounds of the files.
const (
	FileLAN = "local.keyring"
	FileWAN = "remote.keyring"
	// maxFile is in bytes: some hundred times what the most keys take.
	maxFile = 64 << 10
)

// Config says where the keys come from.
type Config struct {
	// Dir is the folder of the files; "" keeps none.
	Dir string
	// Key is the configured one, and WANKey that of the WAN pool if it is another; none if
	// empty.
	Key, WANKey []byte
	// WAN: this is a server that takes part in the federation.
	WAN bool
	// Write replaces a file in whole, readable by its owner alone.
	Write func(name string, b []byte) error
	Log   *slog.Logger

	setting string // that Key is from
}

// Rings are the gossip keys of an agent's pools, nil while gossip has none. From that
// of the LAN follows who is believed inside the datacenter, from that of the WAN,
// which only a server has, who is believed by other datacenters.
type Rings struct{ LAN, WAN *gossip.Keyring }

// Open reads the keyrings that are kept, or begins them with the configured key.
func Open(c Config) (Rings, error) {
	c.setting = "encrypt"
	var r Rings
	var err error
	if r.LAN, err = c.open(FileLAN, nil); err != nil {
		return Rings{}, err
	}
	switch {
	case c.WAN && len(c.WANKey) > 0 && r.LAN == nil:
		return Rings{}, errors.New("encrypt_wan takes encrypt: without a key for the LAN pool everybody who reaches it is a server")
	case c.WAN && len(c.WANKey) > 0:
		wan := c
		wan.Key, wan.setting = c.WANKey, "encrypt_wan"
		if r.WAN, err = wan.open(FileWAN, nil); err != nil {
			return Rings{}, err
		}
	case c.WAN:
		// One that did not take part in the federation so far begins with the keys
		// that its datacenter has now.
		if r.WAN, err = c.open(FileWAN, r.LAN); err != nil {
			return Rings{}, err
		}
	}
	if r.LAN == nil {
		c.Log.Warn("NO GOSSIP KEY IS SET: gossip is not encrypted and anybody who reaches the ports can join; set \"encrypt\" (make a key with: legate keygen)")
	}
	return r, nil
}

// open reads a keyring, or begins one with the keys of another, or with the configured
// key.
func (c *Config) open(name string, like *gossip.Keyring) (*gossip.Keyring, error) {
	if c.Dir == "" {
		if like != nil {
			return gossip.NewKeyring(like.Keys()...)
		}
		return gossip.OpenKeyring(nil, c.Key, nil)
	}
	path := filepath.Join(c.Dir, name)
	kept, err := read(path)
	if err != nil {
		return nil, err
	}
	if len(kept) == 0 && like != nil {
		if kept, err = like.Encode(); err == nil {
			err = c.Write(path, kept)
		}
		if err != nil {
			return nil, fmt.Errorf("begin the gossip keyring %s: %w", path, err)
		}
	}
	k, err := gossip.OpenKeyring(kept, c.Key, func(b []byte) error { return c.Write(path, b) })
	switch {
	case errors.Is(err, gossip.ErrBadKeyring):
		return nil, fmt.Errorf("read the gossip keyring %s: %w; restore it, or remove it to begin with the key of %q", path, err, c.setting)
	case err != nil:
		return nil, fmt.Errorf("open the gossip keyring %s: %w", path, err)
	case k != nil && len(c.Key) > 0 && !k.Has(c.Key):
		c.Log.Warn("the configured key is not in the gossip keyring, and the keyring counts: configure the key in use, or remove the file to begin with the configured one", "setting", c.setting, "file", path)
	case k != nil && !bytes.Equal(c.Key, k.Keys()[0]):
		c.Log.Info("the gossip key in use is that of the keyring, not the configured one", "setting", c.setting, "file", path)
	}
	return k, nil
}

// read returns what a file holds, nothing if there is none. An empty file is
// a broken one.
func read(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the gossip keyring: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the gossip keyring: %w", err)
	}
	if len(b) == 0 {
		b = []byte{' '} // no JSON
	}
	return b, nil
}

// Derived makes certificates of self under authorities derived from the keys, and has
// them follow their changes.
func Derived(keys *gossip.Keyring, self identity.Peer) (*identity.Derived, error) {
	now := keys.Keys()
	id, err := identity.NewDerived(now[0], self, now[1:]...)
	if err == nil {
		err = keys.Follow(func(next [][]byte) error { return id.SetKeys(next[0], next[1:]...) })
	}
	if err != nil {
		return nil, fmt.Errorf("derive the node's certificate from the gossip key: %w", err)
	}
	return id, nil
}

// AfterRemoval calls f when keys are removed, with the time at which the one in use
// was installed on this node, zero if it began with it: what was proven before may
// have been proven with a removed key. Certificates follow before if they were told to
// before. f must not block.
func AfterRemoval(keys *gossip.Keyring, f func(since time.Time)) error {
	installed := map[string]time.Time{}
	for _, key := range keys.Keys() {
		installed[string(key)] = time.Time{}
	}
	return keys.Follow(func(next [][]byte) error {
		now := map[string]time.Time{}
		for _, key := range next {
			at, known := installed[string(key)]
			if !known {
				at = time.Now()
			}
			now[string(key)] = at
		}
		removed := false
		for key := range installed {
			_, still := now[key]
			removed = removed || !still
		}
		installed = now
		if removed {
			f(now[string(next[0])])
		}
		return nil
	})
}

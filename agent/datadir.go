package agent

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/legate-project/legate/agent/recovery"
	"github.com/legate-project/legate/config"
)

// Names of what an agent keeps in its data directory besides its parts' own
// folders.
const (
	lockFile     = "lock"
	gossipFolder = "serf"
	resetKeyLen  = 32
	resetFile    = "quic-reset-key"
)

// owner says whose a data directory is.
type owner struct {
	Node       string `json:"node"`
	Datacenter string `json:"datacenter"`
	Server     bool   `json:"server"`
	// Address that the others knew last, and the one that servers of other datacenters
	// knew.
	Address    string `json:"address,omitempty"`
	AddressWAN string `json:"address_wan,omitempty"`
}

// movedFrom reports whether others may know this agent at an address where it was.
func (o owner) movedFrom(was owner) bool {
	other := func(was, is string) bool { return was != "" && was != is }
	return other(was.Address, o.Address) || other(was.AddressWAN, o.AddressWAN)
}

// dataDir is an agent's data directory, locked while the agent lives. With an
// empty path nothing is kept.
type dataDir struct {
	path string
	lock *os.File
	// moved: the agent lived at another address before.
	moved bool
}

// openDataDir creates and locks the directory and checks that it belongs to
// this agent.
func openDataDir(cfg *config.Config) (*dataDir, error) {
	d := &dataDir{}
	if cfg.DevMode || cfg.DataDir == "" {
		return d, nil
	}
	d.path = cfg.DataDir
	if err := os.MkdirAll(filepath.Join(d.path, gossipFolder), 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	var err error
	if d.lock, err = lockDir(filepath.Join(d.path, lockFile)); err != nil {
		return nil, fmt.Errorf("data directory %s is in use by another agent: stop it or give this one another -data-dir (%w)", d.path, err)
	}
	me := owner{Node: cfg.NodeName, Datacenter: cfg.Datacenter, Server: cfg.Server, Address: cfg.AdvertiseAddr}
	if me.Server {
		me.AddressWAN = cfg.AdvertiseAddrWAN
	}
	if err := d.claim(me); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *dataDir) close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// claim refuses a directory of another node or datacenter and marks a new one.
func (d *dataDir) claim(me owner) error {
	file := filepath.Join(d.path, recovery.OwnerFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		b, err := json.Marshal(me)
		if err != nil {
			return err
		}
		return writeFile(file, b)
	}
	if err != nil {
		return fmt.Errorf("read who owns the data directory: %w", err)
	}
	var was owner
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("%s is damaged (%w): restore it, or start with an empty -data-dir", file, err)
	}
	switch {
	case was.Datacenter != me.Datacenter:
		return fmt.Errorf("data directory %s belongs to datacenter %q, but this agent is configured for %q: use another -data-dir or -datacenter=%s",
			d.path, was.Datacenter, me.Datacenter, was.Datacenter)
	case was.Node != me.Node:
		return fmt.Errorf("data directory %s belongs to node %q, but this agent is %q: use another -data-dir, or -node=%s, or remove %s to rename the node",
			d.path, was.Node, me.Node, was.Node, file)
	case was.Server && !me.Server:
		return fmt.Errorf("data directory %s belongs to a server, but this agent is a client: use another -data-dir, or -server", d.path)
	case was != me:
		d.moved = me.movedFrom(was)
		b, err := json.Marshal(me)
		if err != nil {
			return err
		}
		return writeFile(file, b)
	}
	return nil
}

// nodeID returns the configured ID, else the one kept in the directory, else
// a fresh one, and keeps it.
func (d *dataDir) nodeID(configured string, fresh func() string) (string, error) {
	configured = strings.ToLower(configured)
	if d.path == "" {
		if configured != "" {
			return configured, nil
		}
		return fresh(), nil
	}
	file := filepath.Join(d.path, recovery.NodeIDFile)
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read node ID: %w", err)
	}
	if err == nil {
		kept := strings.ToLower(strings.TrimSpace(string(b)))
		if _, err := uuid.Parse(kept); err != nil {
			return "", fmt.Errorf("%s holds %q, which is not a UUID: restore the file, or start with an empty -data-dir", file, kept)
		}
		if configured != "" && configured != kept {
			return "", fmt.Errorf("data directory %s belongs to node ID %s, but -node-id is %s: use another -data-dir or leave -node-id out", d.path, kept, configured)
		}
		return kept, nil
	}
	if configured == "" {
		configured = fresh()
	}
	return configured, writeFile(file, []byte(configured+"\n"))
}

// resetKey returns the key by which peers recognise a restarted server's
// answers; kept across restarts.
func (d *dataDir) resetKey() (*[resetKeyLen]byte, error) {
	key := new([resetKeyLen]byte)
	if d.path != "" {
		b, err := os.ReadFile(filepath.Join(d.path, resetFile))
		if err == nil && len(b) == resetKeyLen {
			copy(key[:], b)
			return key, nil
		}
	}
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	if d.path == "" {
		return key, nil
	}
	return key, writeFile(filepath.Join(d.path, resetFile), key[:])
}

// sub returns the path of a part's own folder or file, empty when nothing is
// kept.
func (d *dataDir) sub(name ...string) string {
	if d.path == "" {
		return ""
	}
	return filepath.Join(append([]string{d.path}, name...)...)
}

// writeFile replaces a file in whole, durably.
func writeFile(name string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(tmp.Name()))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil { // the rename, too
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Package recovery is for datacenters that lost the majority of their servers' disks: it
// looks at what a server that does not run has, writes down who is to go on, and has the
// server follow that when it starts.
//
// It decides nothing: which disk has the most is for people to compare.
package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// Names of what a server keeps in its data directory.
const (
	NodeIDFile = "node-id"
	OwnerFile  = "agent.json"
	raftFolder = "raft"
)

// Server is a server that does not run, as its data directory shows it.
type Server struct {
	Dir            string
	ID             string
	Node           string // its name
	Datacenter     string
	consensus.Disk `json:"Disk"`
}

// Look reads the data directory of a server that does not run. To open its disks leaves
// files there, which the agent must be able to open: only their owner may look.
func Look(dir string) (*Server, error) {
	s := &Server{Dir: dir}
	id, err := os.ReadFile(filepath.Join(dir, NodeIDFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no data directory of an agent: it has no file %s", dir, NodeIDFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the server's ID: %w", err)
	}
	if err := owned(dir, os.Geteuid()); err != nil {
		return nil, err
	}
	s.ID = strings.ToLower(strings.TrimSpace(string(id)))
	b, err := os.ReadFile(filepath.Join(dir, OwnerFile))
	if err == nil {
		err = json.Unmarshal(b, &struct{ Node, Datacenter *string }{&s.Node, &s.Datacenter})
	}
	if err != nil {
		return nil, fmt.Errorf("read whose the data directory is: %w", err)
	}
	if s.Disk, err = look(filepath.Join(dir, raftFolder)); err != nil {
		return nil, err
	}
	return s, nil
}

// owned says that a directory is another user's.
func owned(dir string, user int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != user {
		return fmt.Errorf("%s belongs to the user %d, and this is the user %d: run this as the user of the agent (sudo -u '#%d' …), which could not read what is written here else", dir, s.Uid, user, s.Uid)
	}
	return nil
}

// look opens the disks, which the agent's own lock does not let happen while it runs.
func look(dir string) (d consensus.Disk, err error) {
	options := func(name string) storage.Options {
		return storage.Options{Dir: filepath.Join(dir, name), FS: vfs.Default}
	}
	for _, name := range []string{"log", "state"} {
		if _, err := os.Stat(options(name).Dir); err != nil {
			return d, fmt.Errorf("this is no server's data directory, or its disks are gone: %w", err)
		}
	}
	log, err := raftlog.Open(options("log"))
	if err != nil {
		return d, fmt.Errorf("open the Raft log in %s (does the agent still run? stop it first): %w", dir, err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	st, err := storage.OpenState(options("state"), state.Tables()...)
	if err != nil {
		return d, fmt.Errorf("open the state in %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return consensus.Look(log, st)
}

// peer is a line of peers.json.
type peer struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	NonVoter bool   `json:"non_voter"`
}

// Write has the server take these for the whole group when it starts next, and returns
// the file that says so. The server must be among them.
func (s *Server) Write(group []consensus.Server) (string, error) {
	if s.Index == 0 {
		return "", consensus.ErrNoState
	}
	if !contains(group, s.ID) {
		return "", fmt.Errorf("the server of this directory, %s, is not among those that are to go on", s.ID)
	}
	peers := []peer{}
	for _, g := range group {
		peers = append(peers, peer{g.ID, g.Address, !g.Voter})
	}
	b, err := json.MarshalIndent(peers, "", "  ")
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, raftFolder, consensus.PeersFile)
	draft := file + ".new"
	if err := os.WriteFile(draft, append(b, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("write who the servers are: %w", err)
	}
	if _, err := consensus.ReadPeers(draft); err != nil { // as the agent will
		return "", errors.Join(err, os.Remove(draft))
	}
	return file, os.Rename(draft, file)
}

func contains(group []consensus.Server, id string) bool {
	for _, g := range group {
		if strings.EqualFold(g.ID, id) {
			return true
		}
	}
	return false
}

// Follow makes the group what a file in the data directory says, if there is one, on the
// open disks of the server with the ID, and removes the file.
func Follow(dir, id string, log *raftlog.Log, st *storage.State, to *slog.Logger) error {
	file := filepath.Join(dir, raftFolder, consensus.PeersFile)
	group, err := consensus.ReadPeers(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("recover the consensus group: %w", err)
	case !contains(group, id):
		return fmt.Errorf("recover the consensus group: %s does not name this server, whose ID is %s: correct it, or remove it", file, id)
	}
	before, err := consensus.Recover(log, st, group)
	if errors.Is(err, consensus.ErrNoState) {
		return fmt.Errorf("recover the consensus group as %s says: %w: remove that file", file, err)
	}
	if err != nil {
		return fmt.Errorf("recover the consensus group as %s says: %w", file, err)
	}
	to.Warn("the consensus group is what peers.json says, which is removed now: what only lost servers had is gone; start others of the old group with empty data directories",
		"group", group, "was", before.Servers, "last_index", before.Index, "last_term", before.Term)
	return consensus.ForgetPeers(file)
}

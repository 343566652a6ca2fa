package consensus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// PeersFile is the name of the file, in the folder of Raft's disks, by which an operator
// says who the servers of the group are when no majority of them comes back. Its format
// is that of hashicorp/raft and Consul: a list of {"id", "address", "non_voter"}.
const PeersFile = "peers.json"

// ErrNoState says that disks hold nothing that a group could go on from.
var ErrNoState = errors.New("there is no entry and no state on the disks of this server: it cannot go on from them, and joins the others as a new one")

// Disk is what the disks of a server hold that does not run.
type Disk struct {
	Index, Term        uint64 // of the last entry
	Applied            uint64 // index up to which the state has the entries
	Servers            []Server
	ConfigurationIndex uint64 // of the entry that says who the servers are
}

// Look reads the disks of a server that does not run.
func Look(log *raftlog.Log, state *storage.State) (Disk, error) {
	from := start(state)
	d := Disk{Index: from.Index, Term: from.Term, Applied: state.Position().Index, ConfigurationIndex: from.ConfigurationIndex}
	if len(from.Configuration) > 0 {
		d.Servers = serversOf(raft.DecodeConfiguration(from.Configuration))
	}
	first, last, err := boundsOf(log)
	if err != nil {
		return d, err
	}
	for i := max(first, from.Index+1); first > 0 && i <= last; i++ {
		var e raft.Log
		if err := log.GetLog(i, &e); err != nil {
			return d, fmt.Errorf("read the entry %d: %w", i, err)
		}
		d.Index, d.Term = e.Index, e.Term
		if e.Type == raft.LogConfiguration {
			d.Servers, d.ConfigurationIndex = serversOf(raft.DecodeConfiguration(e.Data)), e.Index
		}
	}
	return d, nil
}

func boundsOf(log *raftlog.Log) (first, last uint64, err error) {
	if first, err = log.FirstIndex(); err == nil {
		last, err = log.LastIndex()
	}
	return first, last, err
}

func serversOf(c raft.Configuration) []Server {
	var out []Server
	for _, s := range c.Servers {
		out = append(out, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return out
}

// Recover makes servers the whole group, on the disks of one of them that does not run:
// by an entry after its last one, of a term of its own, so that the log stays one that
// Raft could have written. Entries that were not committed yet are committed with it; what
// only lost disks held is lost. Started, a majority of these servers elects a leader. It
// returns what the disks held before.
func Recover(log *raftlog.Log, state *storage.State, servers []Server) (Disk, error) {
	d, err := Look(log, state)
	if err != nil {
		return d, err
	}
	if d.Index == 0 {
		return d, ErrNoState
	}
	first, last, err := boundsOf(log)
	if err != nil {
		return d, err
	}
	if first > 0 && last < d.Index { // all of it is in the state, which came from another server
		if err := log.DeleteRange(first, last); err != nil {
			return d, fmt.Errorf("remove entries that the state has: %w", err)
		}
	}
	term, err := log.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !errors.Is(err, raftlog.ErrNotFound) {
		return d, fmt.Errorf("read the term: %w", err)
	}
	term = max(term, d.Term) + 1
	var c raft.Configuration
	for _, s := range servers {
		suffrage := raft.Voter
		if !s.Voter {
			suffrage = raft.Nonvoter
		}
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address), Suffrage: suffrage})
	}
	if err := log.SetUint64([]byte(keyCurrentTerm), term); err != nil {
		return d, fmt.Errorf("store the term: %w", err)
	}
	entry := &raft.Log{Index: d.Index + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	if err := log.StoreLog(entry); err != nil {
		return d, fmt.Errorf("store who the servers are: %w", err)
	}
	return d, nil
}

// maxPeersFile is more than a PeersFile has: a group has few servers.
const maxPeersFile = 1 << 20 // bytes

// ReadPeers reads a PeersFile. IDs are in lower case, as those of servers are: one that was
// written otherwise would be that of a server that does not exist. The error wraps
// fs.ErrNotExist where there is no file.
func ReadPeers(name string) ([]Server, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxPeersFile:
		return nil, fmt.Errorf("%s is no file, or larger than %d bytes: legate recover writes it", name, maxPeersFile)
	}
	c, err := raft.ReadConfigJSON(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w (it is a list of {\"id\": \"…\", \"address\": \"host:port\"}, one for each server that is to vote; legate recover writes it)", name, err)
	}
	servers, seen := serversOf(c), map[string]bool{}
	for i := range servers {
		s := &servers[i]
		s.ID = strings.ToLower(s.ID)
		if seen[s.ID] {
			return nil, fmt.Errorf("%s names the server %s twice", name, s.ID)
		}
		seen[s.ID] = true
		host, port, err := net.SplitHostPort(s.Address)
		if n, errPort := strconv.ParseUint(port, 10, 16); err != nil || host == "" || errPort != nil || n == 0 {
			return nil, fmt.Errorf("%s: the address of the server %s is %q: want host:port, at which the others reach its Raft (port 8300 as a rule)", name, s.ID, s.Address)
		}
	}
	return servers, nil
}

// ForgetPeers removes a PeersFile that was followed, for good: followed once more after a
// loss of power it would shut out the servers that have joined meanwhile, and they could
// go on without this one.
func ForgetPeers(name string) error {
	err := os.Remove(name)
	if err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("remove what was followed; without that it is followed again at the next start: %w", err)
	}
	return nil
}

// syncFolder has what was created, renamed and removed in a folder outlast a loss of power.
func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

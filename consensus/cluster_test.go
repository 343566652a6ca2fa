package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// row is what the test's machine stores.
type row struct{ Value []byte }

func (r *row) Msgsize() int                        { return 8 + len(r.Value) }
func (r *row) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendBytes(b, r.Value), nil }
func (r *row) UnmarshalMsg(b []byte) (_ []byte, err error) {
	r.Value, b, err = msgp.ReadBytesBytes(b, nil)
	return b, err
}

var rows = storage.NewTable[row](1, "rows")

var errRefused = errors.New("the machine refused")

// machine puts "key=value"; it refuses keys that begin with "!", after having
// written them. It answers the command's index.
type machine struct{}

func (machine) Level([]byte) (uint16, error) { return 1, nil }

func (machine) Apply(tx *storage.Txn, command []byte) (any, error) {
	key, value := command, []byte(nil)
	for i, c := range command {
		if c == '=' {
			key, value = command[:i], command[i+1:]
			break
		}
	}
	if err := rows.Put(tx, key, &row{value}); err != nil {
		return nil, err
	}
	if key[0] == '!' {
		return tx.Index(), errRefused
	}
	return tx.Index(), nil
}

// member is one server of a test.
type member struct {
	t     testing.TB
	id    string
	fs    vfs.FS
	dir   string
	net   *network
	tune  func(*Config)
	sick  bool // its disk fails: so may closing it
	log   *raftlog.Log
	state *storage.State
	node  *Node
}

// network connects members in memory by address.
type network struct {
	transports map[string]*raft.InmemTransport
}

func newNetwork() *network { return &network{map[string]*raft.InmemTransport{}} }

// transport returns a new transport for the address, connected to all others.
func (n *network) transport(address string) *raft.InmemTransport {
	_, t := raft.NewInmemTransportWithTimeout(raft.ServerAddress(address), 2*time.Second)
	for a, other := range n.transports {
		if a != address {
			t.Connect(raft.ServerAddress(a), other)
			other.Connect(raft.ServerAddress(address), t)
		}
	}
	n.transports[address] = t
	return t
}

// cut separates an address from the others.
func (n *network) cut(address string) {
	for a, other := range n.transports {
		if a != address {
			other.Disconnect(raft.ServerAddress(address))
			n.transports[address].Disconnect(raft.ServerAddress(a))
		}
	}
}

func (n *network) heal(address string) {
	for a, other := range n.transports {
		if a != address {
			other.Connect(raft.ServerAddress(address), n.transports[address])
			n.transports[address].Connect(raft.ServerAddress(a), other)
		}
	}
}

var fast = Timing{
	Heartbeat: 100 * time.Millisecond, Election: 100 * time.Millisecond,
	Lease: 50 * time.Millisecond, Commit: 5 * time.Millisecond,
}

func newMember(t testing.TB, n *network, id string, fs vfs.FS) *member {
	return &member{t: t, id: id, fs: fs, dir: id, net: n}
}

// open opens the disks; start runs the node on them.
func (m *member) open() error {
	var err error
	if m.log, err = raftlog.Open(storage.Options{Dir: m.fs.PathJoin(m.dir, "log"), FS: m.fs}); err != nil {
		return err
	}
	m.state, err = storage.OpenState(storage.Options{Dir: m.fs.PathJoin(m.dir, "state"), FS: m.fs})
	return err
}

func (m *member) config() Config {
	cfg := Config{
		NodeID: m.id, Address: m.id, Log: m.log, State: m.state, Machine: machine{},
		Timing: fast, SnapshotInterval: time.Hour,
	}
	if os.Getenv("LEGATE_TEST_LOG") != "" {
		cfg.Logger = logging.New(m.t.Output(), nil, false).With("node", m.id)
	}
	if m.tune != nil {
		m.tune(&cfg)
	}
	return cfg
}

func (m *member) start() {
	m.t.Helper()
	if err := m.open(); err != nil {
		m.t.Fatal(err)
	}
	cfg := m.config()
	if cfg.Transport == nil {
		cfg.Transport = m.net.transport(m.id)
	}
	node, err := Start(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.node = node
	m.t.Cleanup(m.stop)
}

// stop ends the node and closes its disks, in order. What fails because the
// disk failed is expected.
func (m *member) stop() {
	if m.node == nil {
		return
	}
	if m.net != nil { // callers would wait for an answer until their timeout
		m.net.cut(m.id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	slow := time.AfterFunc(4*time.Second, func() { _ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1) })
	defer slow.Stop()
	if err := m.node.Stop(ctx); err != nil {
		m.t.Errorf("stop %s: %v", m.id, err)
	}
	m.node = nil
	for _, err := range []error{m.state.Close(), m.log.Close()} {
		if err != nil && !m.sick {
			m.t.Errorf("close %s: %v", m.id, err)
		}
	}
}

// cluster starts members that are each other's voters on file systems in memory.
func cluster(t testing.TB, size int, tune func(*Config)) []*member {
	t.Helper()
	return clusterOn(t, newNetwork(), size, tune)
}

func clusterOn(t testing.TB, n *network, size int, tune func(*Config)) []*member {
	t.Helper()
	var members []*member
	var servers []Server
	for i := range size {
		m := newMember(t, n, fmt.Sprint("n", i), vfs.NewMem())
		m.tune = tune
		members = append(members, m)
		servers = append(servers, Server{ID: m.id, Address: m.id, Voter: true})
		m.start()
	}
	if err := members[0].node.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	return members
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// leader waits for one that may answer.
func leader(t testing.TB, members []*member) *member {
	t.Helper()
	var found *member
	eventually(t, "a leader", func() bool {
		for _, m := range members {
			if m.node != nil && m.node.LeaseRead() {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// propose tries until a leader acknowledges. Outcomes that are unknown are
// tried again: the machine's commands may be repeated.
func propose(t testing.TB, members []*member, command string) {
	t.Helper()
	for range 1000 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := leader(t, members).node.Propose(ctx, []byte(command))
		cancel()
		if err == nil {
			return
		}
		if !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrStopped) {
			t.Fatalf("propose %s: %v", command, err)
		}
	}
	t.Fatalf("propose %s: refused for ever", command)
}

// value reads a row; ok is false when there is none.
func value(t testing.TB, s *storage.State, key string) (string, bool) {
	t.Helper()
	v := s.View()
	defer v.Close()
	r, err := rows.Get(v, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return "", false
	}
	return string(r.Value), true
}

func has(t testing.TB, m *member, key, want string) bool {
	got, ok := value(t, m.state, key)
	return ok && got == want
}

// tcp gives a member a transport on loopback.
func tcp(t testing.TB, addressOf func(string) (string, bool)) raft.Transport {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewTCPTransport(TCPConfig{
		Listener: l, AddressOf: addressOf,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func discardMetrics(t *testing.T) *metrics {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

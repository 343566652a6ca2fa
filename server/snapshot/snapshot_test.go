package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// harness makes the snapshots of a server that leads.
type harness struct {
	*Snapshots
	*leader.Duties
	group *servertest.Group
	raft  leader.Raft // the group, or one that fails
}

var _ Server = (*harness)(nil)

func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	cfg := Config{Datacenter: "dc1", NodeName: "s1", SpoolDir: t.TempDir(), Group: lifecycle.New("test"), Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		Authorizer: func(string) (rules.Authorizer, error) { return rules.AllowAll(), nil }}
	if change != nil {
		change(&cfg)
	}
	if cfg.State == nil {
		cfg.State = servertest.OpenState(t)
	}
	machine := state.New()
	h := &harness{group: servertest.NewGroup(cfg.State, machine)}
	h.raft = h.group
	h.Duties = leader.New(leader.Config{Datacenter: "dc1", NodeName: "s1", NodeID: servertest.UID("1"), State: cfg.State, Machine: machine,
		CoordinatePeriod: time.Minute, ReconcilePeriod: time.Minute, TombstoneTTL: time.Hour, TombstonePeriod: time.Minute,
		Transport: servertest.Silence{}, Log: cfg.Log, Registerer: cfg.Registerer, Authorizer: cfg.Authorizer})
	h.Snapshots = New(h, h.Duties, cfg)
	return h
}

func (h *harness) start(t testing.TB) {
	t.Helper()
	if err := h.Start(h.raft, servertest.NewPool()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(h.Stop(ctx), h.cfg.Group.Stop(ctx)); err != nil {
			t.Error(err)
		}
	})
}

// Route implements Server: all is for this one.
func (h *harness) Route(*op.Header, bool) ([]transport.Target, transfer.Opener, error) {
	return nil, nil, nil
}

// Hold implements Server: once.
func (h *harness) Hold(_ context.Context, _ func(error) bool, try func() error) error { return try() }

// ConfirmLeadership implements Server.
func (h *harness) ConfirmLeadership(context.Context) error { return nil }

// Group implements Server.
func (h *harness) Group() ([]consensus.Server, error) {
	servers, _, err := h.group.Configuration()
	return servers, err
}

// Meta implements Server.
func (h *harness) Meta(c op.Consistency, index uint64) op.Meta {
	return op.Meta{Consistency: c, Index: index}
}

// get reads a key, nil for none.
func (h *harness) get(t *testing.T, key string) *kv.Entry {
	t.Helper()
	v := h.cfg.State.View()
	e, err := kv.Get.Query(v, &kv.GetRequest{Key: key})
	if err = errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	return e
}

// filled is a server with keys whose snapshot is larger than what is buffered
// on its way.
func filled(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	h := newHarness(t, change)
	h.start(t)
	servertest.Fill(t, h.cfg.State)
	return h
}

func save(t *testing.T, h *harness) []byte {
	t.Helper()
	out, _, err := h.SaveSnapshot(t.Context(), op.Header{})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// freed waits until no save is in progress, and with it no view is held.
func freed(t *testing.T, h *harness) {
	t.Helper()
	servertest.Eventually(t, "no view is held", func() bool { return h.saves.InUse() == 0 })
}

func TestSnapshotBringsBackWhatWas(t *testing.T) {
	dir := t.TempDir()
	h := filled(t, func(c *Config) { c.SpoolDir = dir; c.Version = "1.2" })
	b := save(t, h)
	meta, err := archive.Verify(bytes.NewReader(b))
	if err != nil || meta.Node != "s1" || meta.Version != "1.2" || meta.Index != 40 {
		t.Fatalf("%+v %v", meta, err)
	}
	servertest.Write(t, h.cfg.State, "k1", "changed")
	servertest.Write(t, h.cfg.State, "new", "x")
	h.LeadershipChanged(true)
	reign := h.Reign()
	if _, err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if e := h.get(t, "new"); e != nil {
		t.Errorf("a key from after the snapshot: %v", e)
	}
	if e := h.get(t, "k1"); len(e.Value) != 50_000 || e.ModifyIndex != 2 {
		t.Errorf("a key that was changed: %d bytes of index %d", len(e.Value), e.ModifyIndex)
	}
	if h.cfg.State.Index() <= 42 {
		t.Errorf("the index is %d", h.cfg.State.Index())
	}
	if reign == nil || h.Reign() == reign {
		t.Error("what the leader knew of the old state outlives it")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("uploads stay behind: %v %v", left, err)
	}
}

// leaving gives up when the state is about to be replaced.
type leaving struct {
	*servertest.Group
	leave  context.CancelFunc
	finish []byte // how the last command of a restore begins
}

func (l *leaving) Propose(ctx context.Context, command []byte) (any, error) {
	if !bytes.HasPrefix(command, l.finish) {
		return l.Group.Propose(ctx, command)
	}
	l.leave()
	res, err := l.Group.Propose(ctx, command)
	if ctx.Err() != nil {
		return nil, errors.Join(consensus.ErrLost, ctx.Err())
	}
	return res, err
}

func TestWhoeverLeavesARestoreLeavesNoReignOfTheOldState(t *testing.T) {
	b := save(t, filled(t, nil))
	h := newHarness(t, func(c *Config) { c.SpoolDir = t.TempDir() })
	finish, err := h.group.Machine.Encode(&state.RestoreFinish, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.raft = &leaving{h.group, cancel, finish}
	h.start(t)
	h.LeadershipChanged(true)
	reign := h.Reign()
	if _, err := h.RestoreSnapshot(ctx, op.Header{}, bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
	if e := h.get(t, "k1"); e == nil {
		t.Fatal("the state was not replaced")
	}
	if reign == nil || h.Reign() == reign {
		t.Error("what the leader knew of the old state outlives it")
	}
}

func TestSnapshotIsRefusedToWhoMayNot(t *testing.T) {
	h := filled(t, func(c *Config) {
		c.Authorizer = func(string) (rules.Authorizer, error) {
			return rules.Compile(rules.Settings{}, nil).For(rules.Anonymous), nil
		}
	})
	if _, _, err := h.SaveSnapshot(t.Context(), op.Header{}); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("save: %v", err)
	}
	if _, err := h.RestoreSnapshot(t.Context(), op.Header{}, strings.NewReader("x")); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("restore: %v", err)
	}
}

func TestSnapshotsInProgressAreBounded(t *testing.T) {
	h := filled(t, nil)
	var open []io.Closer
	for range maxSaves {
		out, _, err := h.SaveSnapshot(t.Context(), op.Header{})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, out)
	}
	if _, _, err := h.SaveSnapshot(t.Context(), op.Header{}); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("one more: %v", err)
	}
	for _, out := range open {
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	}
	freed(t, h)
}

func TestReaderThatDoesNotReadLosesItsSnapshot(t *testing.T) {
	h := filled(t, nil)
	h.stall = 20 * time.Millisecond
	out, _, err := h.SaveSnapshot(t.Context(), op.Header{})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	freed(t, h)
	if _, err := io.ReadAll(out); op.CodeOf(err) != op.CodeTimeout {
		t.Errorf("%v", err)
	}
}

func TestReaderThatGoesEndsItsSnapshot(t *testing.T) {
	h := filled(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	out, _, err := h.SaveSnapshot(ctx, op.Header{})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cancel()
	freed(t, h)
	if _, err := io.ReadAll(out); err == nil {
		t.Error("the end of a part is taken for the end of the snapshot")
	}
}

// lossy is a connection that breaks.
type lossy struct{ io.Reader }

var errBroken = errors.New("the connection broke")

func (l lossy) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errBroken
	}
	return n, err
}

func TestRestoreOfWhatIsNotWholeChangesNothing(t *testing.T) {
	h := filled(t, func(c *Config) { c.SpoolDir = t.TempDir() })
	b := save(t, h)
	servertest.Write(t, h.cfg.State, "k1", "changed")
	// Right in all its sums, but no record of ours.
	var forged bytes.Buffer
	if _, err := archive.Write(&forged, archive.Meta{Datacenter: "dc1", Node: "s1", Index: 5}, func(yield func(archive.Row, error) bool) {
		yield(archive.Row{Key: []byte{'r', 1, 'a'}, Value: []byte{0, 0, 0, 0, 0, 0, 0, 5, 0, 0xc1}}, nil)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Verify(bytes.NewReader(forged.Bytes())); err != nil {
		t.Fatalf("the forged archive is not even one: %v", err)
	}
	// As forged, with a record that decodes: its index and that of the archive.
	indexed := func(row, whole uint64) io.Reader {
		rows, err := kv.Rows(&kv.Entry{Key: "k", CreateIndex: 1, ModifyIndex: row})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := archive.Write(&out, archive.Meta{Datacenter: "dc1", Node: "s1", Index: whole}, func(yield func(archive.Row, error) bool) {
			for _, r := range rows {
				if !yield(archive.Row(r), nil) {
					return
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		return &out
	}
	for name, c := range map[string]struct {
		from io.Reader
		code op.Code
	}{
		"newer rows":  {indexed(7, 6), op.CodeInvalid},
		"no index":    {indexed(7, math.MaxUint64), op.CodeInvalid},
		"none either": {indexed(math.MaxUint64, math.MaxUint64), op.CodeInvalid},
		"cut off":     {bytes.NewReader(b[:len(b)/2]), op.CodeInvalid},
		"cut late":    {bytes.NewReader(b[:len(b)-100]), op.CodeInvalid}, // parts of it are staged by then
		"a lost end":  {lossy{bytes.NewReader(b)}, op.CodeInternal},
		"junk":        {strings.NewReader("junk"), op.CodeInvalid},
		"forged":      {&forged, op.CodeInvalid},
	} {
		if _, err := h.RestoreSnapshot(t.Context(), op.Header{}, c.from); op.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e := h.get(t, "k1"); string(e.Value) != "changed" {
		t.Errorf("%.20s", e.Value)
	}
	nothingIsStaged(t, h)
}

func TestASnapshotWithoutRowsIsRestored(t *testing.T) {
	var empty bytes.Buffer
	if _, err := archive.Write(&empty, archive.Meta{Datacenter: "dc1", Node: "s1", Index: 1}, func(func(archive.Row, error) bool) {}); err != nil {
		t.Fatal(err)
	}
	h := filled(t, func(c *Config) { c.SpoolDir = t.TempDir() })
	if _, err := h.RestoreSnapshot(t.Context(), op.Header{}, &empty); err != nil {
		t.Fatal(err)
	}
	if e := h.get(t, "k1"); e != nil {
		t.Errorf("a key is left: %.20s", e.Value)
	}
}

func nothingIsStaged(t *testing.T, h *harness) {
	t.Helper()
	tx := h.cfg.State.Begin()
	defer tx.Discard()
	if err := tx.Stage("any", 0, nil); err == nil || !strings.Contains(err.Error(), "nothing is staged") {
		t.Errorf("what was staged stays: %v", err)
	}
}

// A restore that does not get to its end leaves nothing but used indexes.
func TestRestoreThatBreaksOffChangesNothing(t *testing.T) {
	b := save(t, filled(t, nil))
	ctx, cancel := context.WithCancel(t.Context())
	var commands atomic.Int32 // several are on their way at once
	h := newHarness(t, nil)
	h.raft = breaking{h.group, func() error {
		if commands.Add(1) == 3 {
			cancel()
			return ctx.Err()
		}
		return nil
	}}
	h.start(t)
	servertest.Write(t, h.cfg.State, "k1", "changed")
	if _, err := h.RestoreSnapshot(ctx, op.Header{}, bytes.NewReader(b)); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if e := h.get(t, "k1"); string(e.Value) != "changed" {
		t.Errorf("%.20s", e.Value)
	}
	nothingIsStaged(t, h)
}

// breaking is a group that fails before a command.
type breaking struct {
	*servertest.Group
	before func() error
}

func (b breaking) Propose(ctx context.Context, command []byte) (any, error) {
	if err := b.before(); err != nil {
		return nil, err
	}
	return b.Group.Propose(ctx, command)
}

// A snapshot of a server with another set of rows leaves none of the old ones.
func TestRestoreIntoAnotherServer(t *testing.T) {
	b := save(t, filled(t, nil))
	other := newHarness(t, func(c *Config) {
		s, err := storage.OpenState(storage.Options{Dir: "other", FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.State = s
	})
	other.start(t)
	servertest.Write(t, other.cfg.State, "other", "x")
	if _, err := other.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if again := save(t, other); len(again) < len(b)*9/10 {
		t.Errorf("a snapshot of %d bytes became one of %d", len(b), len(again))
	}
	if e := other.get(t, "other"); e != nil {
		t.Errorf("%v", e)
	}
}

// A snapshot from before addresses were an index: they are one after a restore, and
// what is saved then has no row that the version before would not take.
func TestRestoredStateFindsNamesByAddress(t *testing.T) {
	b, err := os.ReadFile("testdata/before-addresses.snap")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, func(c *Config) {
		s, err := storage.OpenState(storage.Options{Dir: "other", FS: vfs.NewMem()}, state.Tables()...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.State = s
	})
	h.start(t)
	if _, err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"10.1.0.1":          "[{dc1 ext1 }]",
		"fd00::1":           "[{dc1 ext1 }]",
		"::ffff:10.1.9.9":   "[{  db}]",
		"127.0.0.1":         "[{dc1 golden }]",
		"10.1.0.99":         "[]",
		"FD00:0:0::0000:01": "[{dc1 ext1 }]",
	} {
		v := h.cfg.State.View()
		names, err := catalog.ListNamesAt.Query(v, &catalog.AddressRequest{Address: address})
		err = errors.Join(err, v.Close())
		if err != nil || fmt.Sprint(*names) != want {
			t.Errorf("%s: %v %v, want %s", address, names, err, want)
		}
	}
	before, err := archive.Verify(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	after, err := archive.Verify(bytes.NewReader(save(t, h)))
	if err != nil || after.Format != archive.Format || fmt.Sprint(after.Tables) != fmt.Sprint(before.Tables) {
		t.Errorf("saved again: %+v %v, was %+v", after.Tables, err, before.Tables)
	}
}

// What Consul wrote becomes the state: with its indexes, locks and all; and what
// is no snapshot of either changes nothing.
func TestSnapshotOfConsulIsRestored(t *testing.T) {
	dir := t.TempDir()
	h := filled(t, func(c *Config) { c.SpoolDir = dir })
	b, err := os.ReadFile("../../state/archive/consulsnap/testdata/plain.snap")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b[:len(b)-50])); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("cut off: %v", err)
	}
	if e := h.get(t, "k1"); e == nil {
		t.Fatal("a snapshot that is refused changed the state")
	}
	left, err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if left == nil || !slices.Contains(left.Texts, "config entries: 1 (service-defaults/web)") {
		t.Errorf("left out: %v", left)
	}
	e := h.get(t, "locks/one")
	if e == nil || string(e.Value) != "held" || e.LockIndex != 1 || e.CreateIndex != 79 || e.ModifyIndex != 79 || e.Session != "b275ee8a-5ade-ec48-079b-bf899a8adbc2" {
		t.Errorf("%+v", e)
	}
	if e := h.get(t, "k1"); e != nil {
		t.Errorf("a key of the old state: %v", e)
	}
	if h.cfg.State.Index() <= 87 {
		t.Errorf("the index is %d", h.cfg.State.Index())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files stay behind: %v %v", left, err)
	}
}

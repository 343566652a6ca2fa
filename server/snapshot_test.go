package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

// filled is a server with keys whose snapshot is larger than what is buffered
// on its way.
func filled(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	h := newHarness(t, change)
	h.start(t, nil)
	for i := range 40 {
		value := make([]byte, 50_000)
		for j := range value {
			value[j] = byte(i * j * j >> 3) // hard to compress
		}
		write(t, h.cfg.State, fmt.Sprint("k", i), string(value))
	}
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
	eventually(t, "no view is held", func() bool { return h.snapshots.saves.n.Load() == 0 })
}

func TestSnapshotBringsBackWhatWas(t *testing.T) {
	dir := t.TempDir()
	h := filled(t, func(c *Config) { c.SpoolDir = dir; c.Version = "1.2" })
	b := save(t, h)
	meta, err := archive.Verify(bytes.NewReader(b))
	if err != nil || meta.Node != "s1" || meta.Version != "1.2" || meta.Index != 40 {
		t.Fatalf("%+v %v", meta, err)
	}
	write(t, h.cfg.State, "k1", "changed")
	write(t, h.cfg.State, "new", "x")
	h.LeadershipChanged(true)
	reign := h.reigning.Load()
	if err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if e, err := get(t.Context(), h, op.Header{}, "new"); err != nil || e != nil {
		t.Errorf("a key from after the snapshot: %v %v", e, err)
	}
	if e, err := get(t.Context(), h, op.Header{}, "k1"); err != nil || len(e.Value) != 50_000 || e.ModifyIndex != 2 {
		t.Errorf("a key that was changed: %v", err)
	}
	if h.cfg.State.Index() <= 42 {
		t.Errorf("the index is %d", h.cfg.State.Index())
	}
	if reign == nil || h.reigning.Load() == reign {
		t.Error("what the leader knew of the old state outlives it")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("uploads stay behind: %v %v", left, err)
	}
}

// leaving gives up when the state is about to be replaced.
type leaving struct {
	*group
	leave  context.CancelFunc
	finish []byte // how the last command of a restore begins
}

func (l *leaving) Propose(ctx context.Context, command []byte) (any, error) {
	if !bytes.HasPrefix(command, l.finish) {
		return l.group.Propose(ctx, command)
	}
	l.leave()
	res, err := l.group.Propose(ctx, command)
	if ctx.Err() != nil {
		return nil, errors.Join(consensus.ErrLost, ctx.Err())
	}
	return res, err
}

func TestWhoeverLeavesARestoreLeavesNoReignOfTheOldState(t *testing.T) {
	b := save(t, filled(t, nil))
	h := newHarness(t, func(c *Config) { c.SpoolDir = t.TempDir() })
	finish, err := h.Machine().Encode(&state.RestoreFinish, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := h.Start(Parts{Raft: &leaving{h.group, cancel, finish}, LAN: h.pool}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h.LeadershipChanged(true)
	reign := h.reigning.Load()
	if err := h.RestoreSnapshot(ctx, op.Header{}, bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
	if e, err := get(t.Context(), h, op.Header{}, "k1"); err != nil || e == nil {
		t.Fatalf("the state was not replaced: %v %v", e, err)
	}
	if reign == nil || h.reigning.Load() == reign {
		t.Error("what the leader knew of the old state outlives it")
	}
}

func TestSnapshotIsRefusedToWhoMayNot(t *testing.T) {
	h := filled(t, func(c *Config) {
		c.Authorizer = func(string) (rules.Authorizer, error) { return rules.DenyAll(), nil }
	})
	if _, _, err := h.SaveSnapshot(t.Context(), op.Header{}); op.CodeOf(err) != op.CodeDenied {
		t.Errorf("save: %v", err)
	}
	if err := h.RestoreSnapshot(t.Context(), op.Header{}, strings.NewReader("x")); op.CodeOf(err) != op.CodeDenied {
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
	h.snapshots.stall = 20 * time.Millisecond
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

func TestServerThatDoesNotLeadPassesSnapshotsOn(t *testing.T) {
	h := filled(t, nil)
	h.group.leads.Store(false)
	for name, err := range map[string]error{
		"save":    func() error { _, _, err := h.SaveSnapshot(t.Context(), op.Header{}); return err }(),
		"restore": h.RestoreSnapshot(t.Context(), op.Header{}, strings.NewReader("x")),
	} {
		if op.CodeOf(err) != op.CodeNoLeader {
			t.Errorf("%s without a leader: %v", name, err)
		}
	}
	if _, _, err := h.SaveSnapshot(t.Context(), op.Header{Led: true}); op.CodeOf(err) != op.CodeNotLeader {
		t.Errorf("passed on twice: %v", err)
	}
	out, meta, err := h.SaveSnapshot(t.Context(), op.Header{Consistency: op.Stale})
	if err != nil || meta.Consistency != op.Stale {
		t.Fatalf("%+v %v", meta, err)
	}
	_ = out.Close()
	if _, _, err := h.SaveSnapshot(t.Context(), op.Header{Datacenter: "dc9"}); op.CodeOf(err) != op.CodeUnknownDatacenter {
		t.Errorf("an unknown datacenter: %v", err)
	}
	freed(t, h)
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
	write(t, h.cfg.State, "k1", "changed")
	before := h.cfg.State.Index()
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
	for name, c := range map[string]struct {
		from io.Reader
		code op.Code
	}{
		"cut off":    {bytes.NewReader(b[:len(b)/2]), op.CodeInvalid},
		"a lost end": {lossy{bytes.NewReader(b)}, op.CodeInternal},
		"junk":       {strings.NewReader("junk"), op.CodeInvalid},
		"forged":     {&forged, op.CodeInvalid},
	} {
		if err := h.RestoreSnapshot(t.Context(), op.Header{}, c.from); op.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e, err := get(t.Context(), h, op.Header{}, "k1"); err != nil || string(e.Value) != "changed" || h.cfg.State.Index() != before {
		t.Errorf("%v, index %d, want %d", err, h.cfg.State.Index(), before)
	}
}

// A restore that does not get to its end leaves nothing but used indexes.
func TestRestoreThatBreaksOffChangesNothing(t *testing.T) {
	h := filled(t, nil)
	b := save(t, h)
	write(t, h.cfg.State, "k1", "changed")
	ctx, cancel := context.WithCancel(t.Context())
	var commands atomic.Int32 // several are on their way at once
	h.raft = breaking{h.group, func() error {
		if commands.Add(1) == 3 {
			cancel()
			return ctx.Err()
		}
		return nil
	}}
	if err := h.RestoreSnapshot(ctx, op.Header{}, bytes.NewReader(b)); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if e, err := get(t.Context(), h, op.Header{}, "k1"); err != nil || string(e.Value) != "changed" {
		t.Errorf("%v", err)
	}
	tx := h.cfg.State.Begin()
	defer tx.Discard()
	if err := tx.Stage("any", 0, nil); !strings.Contains(err.Error(), "nothing is staged") {
		t.Errorf("what was staged stays: %v", err)
	}
}

// breaking is a group that fails before a command.
type breaking struct {
	*group
	before func() error
}

func (b breaking) Propose(ctx context.Context, command []byte) (any, error) {
	if err := b.before(); err != nil {
		return nil, err
	}
	return b.group.Propose(ctx, command)
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
	other.start(t, nil)
	write(t, other.cfg.State, "other", "x")
	if err := other.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if again := save(t, other); len(again) < len(b)*9/10 {
		t.Errorf("a snapshot of %d bytes became one of %d", len(b), len(again))
	}
	if e, err := get(t.Context(), other, op.Header{}, "other"); err != nil || e != nil {
		t.Errorf("%v %v", e, err)
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
	h.start(t, nil)
	if err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
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
		names, _, err := catalog.ListNamesAt.Call(t.Context(), h, op.Header{}, &catalog.AddressRequest{Address: address})
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
	b, err := os.ReadFile("../state/archive/consulsnap/testdata/plain.snap")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b[:len(b)-50])); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("cut off: %v", err)
	}
	if e, err := get(t.Context(), h, op.Header{}, "k1"); err != nil || e == nil {
		t.Fatalf("a snapshot that is refused changed the state: %v", err)
	}
	if err := h.RestoreSnapshot(t.Context(), op.Header{}, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	e, err := get(t.Context(), h, op.Header{}, "locks/one")
	if err != nil || e == nil || string(e.Value) != "held" || e.LockIndex != 1 || e.CreateIndex != 79 || e.ModifyIndex != 79 || e.Session != "b275ee8a-5ade-ec48-079b-bf899a8adbc2" {
		t.Errorf("%+v %v", e, err)
	}
	if e, err := get(t.Context(), h, op.Header{}, "k1"); err != nil || e != nil {
		t.Errorf("a key of the old state: %v %v", e, err)
	}
	if h.cfg.State.Index() <= 87 {
		t.Errorf("the index is %d", h.cfg.State.Index())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files stay behind: %v %v", left, err)
	}
}

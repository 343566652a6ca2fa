package server

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
)

func TestServerThatDoesNotLeadPassesSnapshotsOn(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.HoldTimeout = 20 * time.Millisecond })
	h.start(t, nil)
	snapshots := h.Snapshots()
	h.group.Leads.Store(false)
	for name, err := range map[string]error{
		"save": func() error { _, _, err := snapshots.SaveSnapshot(t.Context(), op.Header{}); return err }(),
		"restore": func() error {
			_, err := snapshots.RestoreSnapshot(t.Context(), op.Header{}, strings.NewReader("x"))
			return err
		}(),
	} {
		if op.CodeOf(err) != op.CodeNoLeader {
			t.Errorf("%s without a leader: %v", name, err)
		}
	}
	h.group.Other = servertest.UID("2")
	if _, _, err := snapshots.SaveSnapshot(t.Context(), op.Header{Forwarded: true}); op.CodeOf(err) != op.CodeNotLeader {
		t.Errorf("passed on twice: %v", err)
	}
	out, meta, err := snapshots.SaveSnapshot(t.Context(), op.Header{Consistency: op.Stale})
	if err != nil || meta.Consistency != op.Stale {
		t.Fatalf("%+v %v", meta, err)
	}
	_ = out.Close()
	if _, _, err := snapshots.SaveSnapshot(t.Context(), op.Header{Datacenter: "dc9"}); op.CodeOf(err) != op.CodeUnknownDatacenter {
		t.Errorf("an unknown datacenter: %v", err)
	}
}

// Snapshots wait for a leader as all else does that needs one, also those that were
// passed on to who was elected and is not established yet.
func TestSnapshotsWaitForALeader(t *testing.T) {
	for _, forwarded := range []bool{false, true} {
		h := newHarness(t, func(c *Config) { c.HoldTimeout = time.Minute })
		h.start(t, nil)
		snapshots, header := h.Snapshots(), op.Header{Forwarded: forwarded}
		var file []byte
		save := func() error {
			out, _, err := snapshots.SaveSnapshot(t.Context(), header)
			if err != nil {
				return err
			}
			defer out.Close()
			file, err = io.ReadAll(out)
			return err
		}
		restore := func() error {
			_, err := snapshots.RestoreSnapshot(t.Context(), header, bytes.NewReader(file))
			return err
		}
		for _, what := range []func() error{save, restore} {
			h.group.Leads.Store(false)
			elected := time.AfterFunc(100*time.Millisecond, func() { h.group.Leads.Store(true) })
			if err := what(); err != nil {
				t.Errorf("forwarded %v: %v", forwarded, err)
			}
			elected.Stop()
			h.group.Leads.Store(true)
		}
	}
}

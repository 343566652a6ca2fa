package server

import (
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
)

func TestServerThatDoesNotLeadPassesSnapshotsOn(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	snapshots := h.Snapshots()
	h.group.Leads.Store(false)
	for name, err := range map[string]error{
		"save":    func() error { _, _, err := snapshots.SaveSnapshot(t.Context(), op.Header{}); return err }(),
		"restore": snapshots.RestoreSnapshot(t.Context(), op.Header{}, strings.NewReader("x")),
	} {
		if op.CodeOf(err) != op.CodeNoLeader {
			t.Errorf("%s without a leader: %v", name, err)
		}
	}
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

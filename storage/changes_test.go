package storage

import (
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestChangesGatherWhatCommitsTouch(t *testing.T) {
	s := openState(t, vfs.NewMem())
	c := s.Changes(4, things.Source(), byColor.Source())
	defer c.Close()
	ready := func() bool {
		select {
		case <-c.Ready():
			return true
		default:
			return false
		}
	}
	put(t, s, things, "a", "red")
	if !ready() {
		t.Fatal("a commit is not told of")
	}
	keys, whole := c.Take()
	for k := range maps.Keys(keys) {
		parts, ok := byColor.Parts(k.Key, 1)
		if k.Source == 0 && k.Key != "a" || k.Source == 1 && (!ok || !slices.Equal(parts, []string{"red"})) {
			t.Errorf("took %q of source %d, read as %v %v", k.Key, k.Source, parts, ok)
		}
	}
	if whole || len(keys) != 2 {
		t.Errorf("took %v, whole %v", keys, whole)
	}
	apply(t, s, func(*Txn) {})
	if keys, whole := c.Take(); ready() || whole || len(keys) > 0 {
		t.Errorf("a commit of nothing gives %v, whole %v", keys, whole)
	}
	remove(t, s, things, "a")
	if keys, whole := c.Take(); !ready() || whole || len(keys) != 2 {
		t.Errorf("a deletion gives %v, whole %v", keys, whole)
	}
	for _, key := range []string{"b", "c", "d"} {
		put(t, s, things, key, "red")
	}
	if keys, whole := c.Take(); !ready() || !whole || len(keys) > 4 {
		t.Errorf("more than the limit gives %v, whole %v", keys, whole)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, whole := c.Take(); !ready() || !whole {
		t.Error("the end of the state is not told")
	}
}

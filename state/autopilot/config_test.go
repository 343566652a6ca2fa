package autopilot

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// Each step is one command; the first one has the index 1.
func TestTheConfigurationIsWrittenAndCompared(t *testing.T) {
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()}, Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, step := range []struct {
		cas      bool
		index    uint64
		ok       bool
		modified uint64 // afterwards; 0 for no configuration
	}{
		{true, 7, false, 0},  // there is none to compare with
		{true, 0, true, 2},   // the first one
		{true, 0, false, 2},  // there is one already
		{true, 1, false, 2},  // not the one that is there
		{true, 2, true, 5},   //
		{false, 0, true, 6},  // whatever is there
		{true, 5, false, 6},  // an old one
		{false, 99, true, 8}, // without a compare the index says nothing
	} {
		c := Default()
		c.MinQuorum, c.ModifyIndex, c.CreateIndex = uint64(i), step.index, 77
		tx := s.Begin()
		tx.Next()
		res, err := ApplySet(tx, &SetRequest{Config: c, CAS: step.cas})
		if err == nil {
			err = tx.Commit()
		}
		tx.Discard()
		if err != nil || res.OK != step.ok {
			t.Fatalf("step %d: %+v %v, want %v", i+1, res, err, step.ok)
		}
		v := s.View()
		got, err := Get.Query(v, &op.Empty{})
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case step.modified == 0:
			if got != nil {
				t.Errorf("step %d: %+v", i+1, got)
			}
			continue
		case got == nil:
			t.Fatalf("step %d: nothing is there", i+1)
		case got.ModifyIndex != step.modified || got.CreateIndex != 2 || step.ok && got.MinQuorum != uint64(i):
			t.Errorf("step %d: %+v, want it modified at %d and created at 2", i+1, got, step.modified)
		}
	}
}

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	if c := Default(); c.Check() != nil {
		t.Errorf("the default: %v", c.Check())
	}
	for name, change := range map[string]func(*Config){
		"no contact":         func(c *Config) { c.LastContactThreshold = 0 },
		"contact in advance": func(c *Config) { c.LastContactThreshold = -time.Second },
		"stable in advance":  func(c *Config) { c.ServerStabilizationTime = -1 },
		"stable never":       func(c *Config) { c.ServerStabilizationTime = 1 << 62 },
		"a long tag":         func(c *Config) { c.RedundancyZoneTag = string(make([]byte, 129)) },
	} {
		c := Default()
		change(&c)
		if err := Set.Prepare(op.Leader{}, &SetRequest{Config: c}); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package removal

import (
	"encoding/json"
	"testing"
	"time"
)

// Records come from servers of other datacenters, and from a file.
func FuzzRecords(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r, err := Open("dc1", nil, nil)
	if err == nil {
		_, err = r.Set("dc9", true, "s1.dc1", now)
	}
	b, bad := json.Marshal(r.List())
	if err != nil || bad != nil {
		f.Fatal(err, bad)
	}
	f.Add(b)
	f.Add([]byte(`[{"datacenter":"","version":18446744073709551615}]`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var list []Record
		if json.Unmarshal(b, &list) != nil {
			return
		}
		r, err := Open("dc1", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		changed, _ := r.Merge(list, now)
		if again, _ := r.Merge(list, now); len(again) > 0 {
			t.Errorf("the same records are news twice: %+v", again)
		}
		if kept := r.List(); len(kept) > len(changed) || len(kept) > maxRecords {
			t.Errorf("%d records are kept, %d changed", len(kept), len(changed))
		}
		_, _ = Open("dc1", b, nil) // read or refused
	})
}

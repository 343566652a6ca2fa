package state

import (
	"slices"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// Requests come from client agents and from servers of other datacenters, results from
// other servers: whatever their bytes are, they are read or refused, and asking for the
// right that they take leaves nothing to chance.
func FuzzOperations(f *testing.F) {
	all := Operations()
	slices.SortFunc(all, func(a, b op.Operation) int { // seeds mean the same after an operation was added elsewhere
		if a.OpName() < b.OpName() {
			return -1
		}
		return 1
	})
	for _, o := range all {
		f.Add(o.OpName(), []byte{0x80}, false)
		f.Add(o.OpName(), []byte{0x81, 0xa1, 'k', 0xdb, 0xff, 0xff, 0xff, 0xff}, true)
		f.Add(o.OpName(), []byte{0xdd, 0x7f, 0xff, 0xff, 0xff}, true)
	}
	nobody := rules.Compile(rules.Settings{}, &rules.Policy{}).For("nobody")
	f.Fuzz(func(t *testing.T, name string, b []byte, result bool) {
		i := slices.IndexFunc(all, func(o op.Operation) bool { return o.OpName() == name })
		if i < 0 {
			return
		}
		if result {
			_, _ = all[i].DecodeResult(b) // read or refused
			return
		}
		request, err := all[i].DecodeRequest(b)
		if err != nil {
			return
		}
		if err := all[i].Allow(rules.AllowAll(), request); err != nil && all[i].OpKind() != op.KindInternal {
			t.Errorf("%s of %+v is denied to who may do everything: %v", name, request, err)
		}
		_ = all[i].Allow(nobody, request) // denied, or asked for later with a view
	})
}

// Rows of an archive come in parts, which whoever proposes them has cut.
func FuzzSplitRows(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 'k', 1, 'v'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := splitRows(b)
		size := 0
		for _, r := range rows {
			size += len(r.Key) + len(r.Value)
		}
		if err == nil && size > len(b) {
			t.Errorf("%d bytes of rows are in %d bytes", size, len(b))
		}
	})
}

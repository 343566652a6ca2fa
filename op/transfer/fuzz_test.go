package transfer

import (
	"testing"

	"github.com/legate-project/legate/op"
)

// The head of a request for a snapshot comes from client agents and other servers.
func FuzzReadHead(f *testing.F) {
	b, err := (&op.Header{Datacenter: "dc1", Token: "t"}).MarshalMsg([]byte{kindSave})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{kindRestore, 0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, h, err := readHead(b)
		if err == nil && (kind != kindSave && kind != kindRestore || h.Hops > op.MaxHops) {
			t.Errorf("taken for a request: %d %+v", kind, h)
		}
	})
}

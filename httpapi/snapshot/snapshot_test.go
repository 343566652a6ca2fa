package snapshot

import (
	"net/http"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
)

func TestSnapshotIsOfOneDatacenter(t *testing.T) {
	w := resttest.Serve(t, (&API{Source: struct{ Snapshots }{}}).Routes()) // that would panic
	for _, method := range []string{"GET", "PUT"} {
		for _, dc := range []string{"all", "nearest", "dc1,dc2"} {
			if r := w.Do(method, "/v1/snapshot?dc="+dc, "x"); r.Code != http.StatusBadRequest {
				t.Errorf("%s of %s: %d %s", method, dc, r.Code, r.Body)
			}
		}
	}
}

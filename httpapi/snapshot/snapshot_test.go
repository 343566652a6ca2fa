package snapshot

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
)

// paced yields so many bytes at each tick.
type paced struct {
	each  int
	tick  *time.Ticker
	times int
}

func (p *paced) Read(b []byte) (int, error) {
	if p.times--; p.times < 0 {
		return 0, io.EOF
	}
	<-p.tick.C
	return copy(b, strings.Repeat("x", p.each)), nil
}

// A body that comes byte by byte ends, one that is slow and goes on does not.
func TestBodiesGoOnComing(t *testing.T) {
	for _, c := range []struct {
		each, times int
		whole       bool
	}{{1, 200, false}, {snapshotBuffer/4 + 1, 60, true}} {
		got := make(chan error, 1)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := &steady{r: r.Body, control: http.NewResponseController(w), stall: 500 * time.Millisecond}
			body.begin()
			_, err := io.Copy(io.Discard, body)
			got <- err
			if err != nil {
				w.Header().Set("Connection", "close")
			}
		}))
		defer srv.Close()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL, &paced{c.each, tick, c.times})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := srv.Client().Do(req); err == nil {
			_ = res.Body.Close()
		}
		if err := <-got; (err == nil) != c.whole {
			t.Errorf("%d bytes at a time: %v", c.each, err)
		}
	}
}

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

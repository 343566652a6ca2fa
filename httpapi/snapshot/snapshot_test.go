package snapshot

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
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

// restored is what takes snapshots, and says what it leaves out of them.
type restored struct {
	Snapshots
	left *op.Texts
}

func (r restored) RestoreSnapshot(_ context.Context, _ op.Header, from io.Reader) (*op.Texts, error) {
	_, err := io.Copy(io.Discard, from)
	return r.left, err
}

// Who restores a snapshot of Consul is told what is left out; who restores one of
// ours gets the empty answer that Consul gives.
func TestRestoringTellsWhatIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		left *op.Texts
		want string
	}{
		{nil, ""},
		{&op.Texts{}, `{"LeftOut":[]}`},
		{&op.Texts{Texts: []string{"ACL tokens: 3"}}, `{"LeftOut":["ACL tokens: 3"]}`},
	} {
		w := resttest.Serve(t, (&API{Source: restored{left: c.left}}).Routes())
		if res := w.Do("PUT", "/v1/snapshot", "x"); res.Code != http.StatusOK || res.Body.String() != c.want {
			t.Errorf("%v: %d %s", c.left, res.Code, res.Body)
		}
		if err := resttest.Client(t, w.Listen(t)).Snapshot().Restore(nil, strings.NewReader("x")); err != nil {
			t.Errorf("%v: the official client says %v", c.left, err)
		}
	}
}

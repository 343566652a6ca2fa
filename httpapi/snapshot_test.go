package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/httpapi/snapshot"
	"github.com/legate-project/legate/op"
)

// restored is what takes snapshots, and says what it leaves out of them.
type restored struct {
	snapshot.Snapshots
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
		w := start(t, func(cfg *Config) { cfg.Snapshots = restored{left: c.left} })
		if res := w.do("PUT", "/v1/snapshot", "x"); res.Code != http.StatusOK || res.Body.String() != c.want {
			t.Errorf("%v: %d %s", c.left, res.Code, res.Body)
		}
		srv := httptest.NewServer(w)
		defer srv.Close()
		client, err := api.NewClient(&api.Config{Address: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Snapshot().Restore(nil, strings.NewReader("x")); err != nil {
			t.Errorf("%v: the official client says %v", c.left, err)
		}
	}
}

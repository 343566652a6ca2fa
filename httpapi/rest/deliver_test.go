package rest

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Who waited has the whole answer before anything else is done for him, with its length.
func TestAWaitIsAnsweredAtOnce(t *testing.T) {
	read := make(chan struct{})
	api, err := New(Config{Datacenter: "dc1", Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}, []Route{
		{Path: "/v1/wait", Get: func(x *Exchange) error {
			x.Waits = true
			err := x.JSONBytes(http.StatusOK, []byte(`"news"`))
			select {
			case <-read:
			case <-t.Context().Done():
			}
			return err
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(api)
	defer s.Close()
	r, err := s.Client().Get(s.URL + "/v1/wait")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	close(read)
	_ = r.Body.Close()
	if err != nil || string(b) != `"news"` || r.ContentLength != int64(len(b)) {
		t.Errorf("%s %v, length %d", b, err, r.ContentLength)
	}
}

package rest

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Whatever a client speaks, it does not take an answer that broke off for whole, and the
// next request is answered.
func TestAnAnswerThatBreaksOffIsNotWhole(t *testing.T) {
	parts := func(yield func([]byte, error) bool) {
		_ = yield(bytes.Repeat([]byte("x"), PartBytes), nil) && yield(nil, errors.New("a fault"))
	}
	api, err := New(Config{Datacenter: "dc1", Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}, []Route{
		{Path: "/v1/broken", Get: func(x *Exchange) error { return x.JSONParts(parts) }},
		{Path: "/v1/whole", Get: func(x *Exchange) error { return x.Text(http.StatusOK, "whole") }},
	})
	if err != nil {
		t.Fatal(err)
	}
	for version := 1; version <= 2; version++ {
		s := httptest.NewUnstartedServer(api)
		s.EnableHTTP2 = version == 2
		s.StartTLS()
		for _, encoding := range []string{"gzip", "identity"} { // gzip has an end of its own
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/broken", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept-Encoding", encoding)
			r, err := s.Client().Do(request)
			if err == nil {
				if r.ProtoMajor != version {
					t.Errorf("HTTP/%d was spoken", r.ProtoMajor)
				}
				if b, err := io.ReadAll(r.Body); err == nil {
					t.Errorf("HTTP/%d, %s: %d bytes were taken for the whole", version, encoding, len(b))
				}
				_ = r.Body.Close()
			}
			if r, err = s.Client().Get(s.URL + "/v1/whole"); err != nil {
				t.Fatalf("HTTP/%d: the next request: %v", version, err)
			}
			_ = r.Body.Close()
		}
		s.Close()
	}
	if n := api.Active(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

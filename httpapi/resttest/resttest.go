// Package resttest is what the tests of the HTTP API's areas share: the rows of an area
// served as an agent serves them, requests with their answers, and datacenters that
// answer operations from memory.
//
// It knows no area, so that each area's own tests can use it. No program contains it.
package resttest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/internal/logging"
)

// Server answers the requests of one test.
type Server struct{ http.Handler }

// Serve answers rows as the agent n1 of dc1 does, by default.
func Serve(t testing.TB, rows []rest.Route, change ...func(*rest.Config)) *Server {
	t.Helper()
	cfg := rest.Config{Datacenter: "dc1", NodeName: "n1", DefaultQueryTime: 5 * time.Minute, MaxQueryTime: 10 * time.Minute,
		Log: logging.Discard(), Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&cfg)
	}
	s, err := rest.New(cfg, rows)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{s}
}

// Do returns the answer to a request, whose headers are names with their values.
func (s *Server) Do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	return rec
}

// Listen answers on a real listener until the test ends and returns its URL.
func (s *Server) Listen(t testing.TB) string {
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	return listening.URL
}

// Client is the official client, at a URL.
func Client(t testing.TB, url string) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Case is a request with its answer. Want is the whole body, or behind a ~ a part of
// it. The struct has no name of its own, so that a test can list cases without the
// names of the fields.
type Case = struct {
	Method, Target, Body string
	Status               int
	Want                 string
}

// Check asks for the cases, one after another.
func (s *Server) Check(t testing.TB, cases ...Case) {
	t.Helper()
	for _, c := range cases {
		rec := s.Do(c.Method, c.Target, c.Body)
		got := rec.Body.String()
		part, isPart := strings.CutPrefix(c.Want, "~")
		if rec.Code != c.Status || (isPart && !strings.Contains(got, part)) || (!isPart && got != c.Want) {
			t.Errorf("%s %s %.100s: %d %s\nwant %d %s", c.Method, c.Target, c.Body, rec.Code, got, c.Status, c.Want)
		}
	}
}

// CheckEach checks cases that know nothing of each other: each is a test of its own, with
// a server of its own.
func CheckEach(t *testing.T, serve func(testing.TB) *Server, cases []Case) {
	for _, c := range cases {
		t.Run(c.Method+" "+strings.ReplaceAll(c.Target, "/", "|"), func(t *testing.T) { serve(t).Check(t, c) })
	}
}

// Package resttest is what the tests of the HTTP API's areas share: the rows of an area
// served as an agent serves them, requests with their answers, and datacenters that
// answer operations from memory.
//
// It knows no area, so that each area's own tests can use it. No program contains it.
package resttest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// MetaJSON is what an answer says of itself in its body, behind its results.
const MetaJSON = `"Index":7,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`

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

// Shape is an answer, to the byte, which the official client reads into a type of its
// own; nil if it has none. The type may lack fields only if that is said.
type Shape = struct {
	Target, Want string
	Into         any
	Lacks        bool
}

// CheckShapes asks for answers that clients are written against.
func (s *Server) CheckShapes(t testing.TB, shapes ...Shape) {
	t.Helper()
	for _, c := range shapes {
		rec := s.Do("GET", c.Target, "")
		if got := rec.Body.String(); got != c.Want {
			t.Errorf("%s: %d\n%s\nwant\n%s", c.Target, rec.Code, got, c.Want)
		}
		if c.Into == nil {
			continue
		}
		dec := json.NewDecoder(rec.Body)
		if !c.Lacks {
			dec.DisallowUnknownFields()
		}
		if err := dec.Decode(c.Into); err != nil {
			t.Errorf("%s: the client reads it: %v", c.Target, err)
		}
	}
}

// CheckAsked checks what each target asks the datacenter for: a pointer to a request.
func CheckAsked(t testing.TB, serve func(testing.TB, op.Caller) *Server, wanted map[string]any) {
	t.Helper()
	for target, want := range wanted {
		caller := &Caller{}
		if rec := serve(t, caller).Do("GET", target, ""); rec.Code != 200 || !reflect.DeepEqual(caller.Request(), want) {
			t.Errorf("%s: %d, asks %+v, want %+v", target, rec.Code, caller.Request(), want)
		}
	}
}

// CheckRefused checks that the cases are answered without asking the datacenter for
// anything. What they want is how the answer begins.
func CheckRefused(t testing.TB, serve func(testing.TB, op.Caller) *Server, cases ...Case) {
	t.Helper()
	for _, c := range cases {
		caller := &Caller{}
		rec := serve(t, caller).Do(c.Method, c.Target, c.Body)
		if asked := caller.Asked(); rec.Code != c.Status || !strings.HasPrefix(rec.Body.String(), c.Want) || len(asked) > 0 {
			t.Errorf("%s %s: %d %s, asked %v; want %d %s and nothing asked", c.Method, c.Target, rec.Code, rec.Body, asked, c.Status, c.Want)
		}
	}
}

// CheckMesh checks that the list of a mesh's instances of "web" is asked for as such, with
// all that a client may say, and shown as that of all instances.
func CheckMesh(t testing.TB, serve func(testing.TB, op.Caller) *Server, all, inMesh string) {
	t.Helper()
	asked := catalog.ServiceRequest{Service: "web", Tags: []string{"a"}, NodeMeta: []string{"k:v"}}
	askedInMesh := asked
	askedInMesh.Connect = true
	const said = "?tag=a&node-meta=k:v"
	CheckAsked(t, serve, map[string]any{all + said: &asked, inMesh + said: &askedInMesh})
	s := serve(t, &Caller{Answers: Records()})
	shown := s.Do("GET", all, "").Body.String()
	if got := s.Do("GET", inMesh, "").Body.String(); got != shown || !strings.Contains(got, "web1") {
		t.Errorf("%s: %s\nwant %s", inMesh, got, shown)
	}
}

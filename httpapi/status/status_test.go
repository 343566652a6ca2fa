package status

import (
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
)

// One row is one request with its answer.
func TestRequestsOfStatusAreAnswered(t *testing.T) {
	caller := &resttest.Caller{Answers: map[string]any{"status.leader": &op.Text{Text: "10.0.0.1:8300"}, "status.peers": &op.Texts{Texts: []string{"10.0.0.1:8300"}}}}
	resttest.Serve(t, (&API{Caller: caller}).Routes()).Check(t, []resttest.Case{
		{"GET", "/v1/status/leader", "", 200, `"10.0.0.1:8300"`},
		{"GET", "/v1/status/peers", "", 200, `["10.0.0.1:8300"]`},
	}...)
}

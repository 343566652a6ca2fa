package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/session"
)

// What is above a limit says so also where it came from another agent.
func TestRequestsAboveALimitSayWhichOne(t *testing.T) {
	checks := func(n int) []catalog.Check {
		list := make([]catalog.Check, n)
		for i := range list {
			list[i].CheckID = fmt.Sprint(i)
		}
		return list
	}
	for text, c := range map[string]struct {
		o       op.Operation
		request interface{ MarshalMsg([]byte) ([]byte, error) }
	}{
		"":                               {&session.Create, &session.CreateRequest{Session: session.Session{NodeChecks: make([]string, 65)}}},
		"session.create has a list with": {&session.Create, &session.CreateRequest{Session: session.Session{NodeChecks: make([]string, 2000)}}},
		"than are allowed":               {&catalog.Register, &catalog.RegisterRequest{Node: "n", Checks: checks(5000)}},
	} {
		body, err := c.request.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = op.Received(c.o, op.Header{}, body).Request()
		if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "msgp")) {
			t.Errorf("want %q, got %v", text, err)
		}
	}
}

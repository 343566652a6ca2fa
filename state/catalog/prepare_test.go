package catalog

import (
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
)

func TestRegistrationsThatNobodyCouldAskForAreRefused(t *testing.T) {
	long := strings.Repeat("n", maxName+1)
	for what, r := range map[string]RegisterRequest{
		"a long node name":          {Node: long, Address: "10.0.0.1"},
		"a node name with NUL":      {Node: "a\x00b", Address: "10.0.0.1"},
		"a long service name":       {Node: "n", Address: "10.0.0.1", Service: &Service{ID: "s", Service: long}},
		"a long service ID":         {Node: "n", Address: "10.0.0.1", Service: &Service{ID: long, Service: "s"}},
		"a line break in an ID":     {Node: "n", Address: "10.0.0.1", Service: &Service{ID: "x\ny", Service: "s"}},
		"an escape in a check's ID": {Node: "n", Address: "10.0.0.1", Check: &Check{CheckID: "\x1b[2J"}},
		"a negative port":           {Node: "n", Address: "10.0.0.1", Service: &Service{Service: "s", Port: -1}},
		"a port above all":          {Node: "n", Address: "10.0.0.1", Service: &Service{Service: "s", Port: 65536}},
	} {
		if err := prepareRegister(op.Leader{}, &r); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%s: %v, want a refusal", what, err)
		}
	}
	fine := RegisterRequest{Node: "naïve ☃", Address: "10.0.0.1", Service: &Service{ID: "a b/%2f", Service: long[:maxName], Port: 65535}}
	if err := prepareRegister(op.Leader{}, &fine); err != nil {
		t.Errorf("names that only DNS cannot carry: %v", err)
	}
}

func TestTheKindOfACheckIsThatOfItsDefinition(t *testing.T) {
	r := RegisterRequest{Node: "n", Address: "10.0.0.1", Check: &Check{CheckID: "a", Definition: CheckDefinition{TCP: "x:1"}},
		Checks: []Check{{CheckID: "b", Type: "mine", Definition: CheckDefinition{TCP: "x:1"}}, {CheckID: "c"}}}
	if err := prepareRegister(op.Leader{}, &r); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"tcp", "mine", ""} {
		if got := r.Checks[i].Type; got != want {
			t.Errorf("%s is of kind %q, want %q", r.Checks[i].CheckID, got, want)
		}
	}
}

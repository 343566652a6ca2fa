package op

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseReach(t *testing.T) {
	many := make([]string, MaxListed+1)
	for i := range many {
		many[i] = fmt.Sprint("dc", i)
	}
	for _, c := range []struct {
		dc     string
		fanOut bool
		want   string // first, others, listed; empty for a refusal
	}{
		{"dc1", false, ""},
		{"", false, ""},
		{"nearest", true, "true true []"},
		{"all", true, "false true []"},
		{"dc2,dc3", true, "false false [dc2 dc3]"},
		{"dc2, dc3,dc2", true, "false false [dc2 dc3]"},
		{"dc2>dc3", true, "true false [dc2 dc3]"},
		{"dc2>nearest", true, "true true [dc2]"},
		{FailoverOrder([]string{"dc2", "nearest"}), true, "true true [dc2]"},
		{"dc2>!dc3>nearest", true, "true true [dc2] without dc3"},
		{"!dc3>nearest", true, "true true [] without dc3"},
		{"dc2>!>nearest", true, ""},
		{"nearest>dc2", true, ""},
		{"dc2,nearest", true, ""},
		{"dc2,all", true, ""},
		{"dc2>all", true, ""},
		{"dc2>dc3,dc4", true, ""},
		{",", true, ""},
		{"dc2,", true, ""},
		{">", true, ""},
		{strings.Join(many, ","), true, ""},
		{strings.Join(many[1:], ","), true, "false false " + fmt.Sprint(many[1:])},
	} {
		if IsFanOut(c.dc) != c.fanOut {
			t.Errorf("IsFanOut(%q) is %v", c.dc, !c.fanOut)
		}
		if !c.fanOut {
			continue
		}
		r, err := ParseReach(c.dc)
		got := fmt.Sprint(r.First, r.Others, r.Listed)
		if len(r.LeftOut) > 0 {
			got += " without " + strings.Join(r.LeftOut, " ")
		}
		if err != nil {
			got = ""
			if CodeOf(err) != CodeInvalid {
				t.Errorf("%q is refused with %v", c.dc, err)
			}
		}
		if got != c.want && strings.ReplaceAll(got, "  ", " ") != c.want {
			t.Errorf("%q is read as %q, want %q", c.dc, got, c.want)
		}
	}
}

func TestOrdersWithoutADatacenter(t *testing.T) {
	for _, c := range [][3]string{
		{"dc1>dc2>dc3", "dc2", "dc1>dc3"},
		{"dc1>dc2>nearest", "dc2", "dc1>!dc2>nearest"},
		{"dc1>!dc2>nearest", "dc3", "dc1>!dc2>!dc3>nearest"},
		{"nearest", "dc2", "!dc2>nearest"},
		{"!dc2>nearest", "dc2", ""},
		{"dc2", "dc2", ""},
		{"dc2>dc3", "dc2", "dc3"},
	} {
		if got := LeaveOut(c[0], c[1]); got != c[2] {
			t.Errorf("%s without %s: %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if got := FirstOf("dc1>dc2"); got != "dc1" {
		t.Error(got)
	}
}

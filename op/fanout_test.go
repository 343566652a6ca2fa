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

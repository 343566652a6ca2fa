package nesting

import "testing"

func TestDeeper(t *testing.T) {
	for _, c := range []struct {
		text string
		than int
		want bool
	}{
		{"", 0, false},
		{"1", 0, false},
		{"[1]", 0, true},
		{"[1]", 1, false},
		{`{"a":[{}]}`, 2, true},
		{`{"a":[{}]}`, 3, false},
		{"[][][][]", 1, false},
		{`["[[[["]`, 1, false},
		{`["\"[[[["]`, 1, false},
		{`["\\",[[1]]]`, 2, true},
		{"[[[", 2, true}, // cut off
	} {
		if got := Deeper([]byte(c.text), c.than); got != c.want {
			t.Errorf("%s deeper than %d: %v", c.text, c.than, got)
		}
	}
}

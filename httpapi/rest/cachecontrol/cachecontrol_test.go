package cachecontrol

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  Directives
		bad   bool
	}{
		{},
		{lines: []string{"no-transform"}},
		{lines: []string{"max-age=30"}, want: Directives{MaxAge: 30 * time.Second}},
		{lines: []string{"Max-Age=\"30\" , stale-if-error=60"}, want: Directives{MaxAge: 30 * time.Second, StaleIfError: time.Minute}},
		{lines: []string{"must-revalidate", "stale-if-error=60"}, want: Directives{StaleIfError: time.Minute, Revalidate: true}},
		{lines: []string{"max-age=0"}, want: Directives{Revalidate: true}},
		{lines: []string{"max-age=-1"}, bad: true},
		{lines: []string{"max-age"}, bad: true},
		{lines: []string{"stale-if-error=1h"}, bad: true},
		{lines: []string{"max-age=99999999999999999999"}, bad: true},
	} {
		got, err := Parse(c.lines)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%q: %+v, %v", c.lines, got, err)
		}
	}
}

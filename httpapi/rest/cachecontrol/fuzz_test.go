package cachecontrol

import "testing"

func FuzzParse(f *testing.F) {
	for _, line := range []string{"max-age=5", "stale-if-error=10, must-revalidate", "max-age", `max-age="7"`, "max-age=-1", "max-age=99999999999999999999", ",,=,"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d, err := Parse([]string{line, line})
		if err == nil && (d.MaxAge < 0 || d.StaleIfError < 0) || err != nil && d != (Directives{}) {
			t.Errorf("%q: %+v, %v", line, d, err)
		}
	})
}

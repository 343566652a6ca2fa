package filter

import (
	"strings"
	"testing"
	"time"
)

type record struct {
	Name string
	Tags []string
}

func TestExpressionsOfPatternsAreBounded(t *testing.T) {
	for text, want := range map[string]string{
		`Name matches "^web-[a-z0-9]{1,63}\\.[^.]+$"`:                                                  "",
		`any Tags as t { t matches "b{500}" }`:                                                         "",
		`Name matches "` + strings.Repeat("a{1000}", 500) + `"`:                                        "its patterns are too long",
		`Name matches "a{1000}" or ` + strings.Repeat(`Name matches "b{900}" or `, 20) + `Name == "x"`: "its patterns are too long",
		`any Tags as t { t matches "` + strings.Repeat("a{1000}", 20) + `" }`:                          "its patterns are too long",
		`all Tags as t { not t matches "(" }`:                                                          "missing closing )",
	} {
		begin := time.Now()
		f, err := ParseFor(text, &record{Tags: []string{"x"}})
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%.60s: took %s", text, took)
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%.60s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.60s: %v, want %q", text, err, want)
		case want == "":
			if _, err := f.Pass(&record{Name: "web-1.dc1", Tags: []string{"b"}}); err != nil {
				t.Errorf("%.60s: %v", text, err)
			}
		}
	}
}

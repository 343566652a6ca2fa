package command

import "testing"

func TestControlCharactersAreWrittenOut(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"häuser\t雪 'a' \"b\" \\":   "häuser\t雪 'a' \"b\" \\",
		"\x1b]0;title\a":           `\x1b]0;title\a`,
		"\u009b31m":                `\u009b31m`,
		"a\rb\nc\x00":              `a\rb\nc\x00`,
		"right\u202eleft":          `right\u202eleft`,
		"\xff":                     "\ufffd",
		"soft\u00ad \U000e0041end": `soft\u00ad \U000e0041end`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

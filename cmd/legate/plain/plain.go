// Package plain makes text of others fit to be shown on a terminal, which obeys
// what it is sent.
//
// It does not decide where text is shown: what goes into files and pipes is for
// programs and stays as it is.
package plain

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is the text with what is no printable character and no tab written out,
// as in Go's literals.
func Text(text string) string {
	special := func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, special) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if special(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

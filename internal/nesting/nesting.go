// Package nesting says how deep JSON is nested, before anything reads it: readers recurse,
// and some take time by the square of the depth.
//
// It does not say whether the text is JSON.
package nesting

// Deeper reports whether JSON is nested deeper than a number of levels.
func Deeper(b []byte, than int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b) && depth <= than; i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return depth > than
}

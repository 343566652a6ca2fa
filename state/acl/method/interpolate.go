package method

import (
	"fmt"
	"strings"
)

// maxInterpolated bounds what becomes of a text, in bytes: longer than all names.
const maxInterpolated = 4096

// Interpolate puts variables into the places of a text: ${value.name}. $${ stands for
// ${ itself. Variables are all there is: no functions, no operators. What a variable
// holds is never looked at for places again.
//
// Whole reports whether no variable that the text has was empty. A variable that is
// not there, and a text that is not well formed, is an error.
func Interpolate(text string, variables map[string]string) (out string, whole bool, err error) {
	var b strings.Builder
	whole = true
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			b.WriteString(text)
			break
		}
		if at > 0 && text[at-1] == '$' {
			b.WriteString(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		b.WriteString(text[:at])
		rest := text[at+2:]
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return "", false, fmt.Errorf("%.64q has no closing }", text[at:])
		}
		name := strings.TrimSpace(rest[:end])
		value, ok := variables[name]
		if !ok {
			return "", false, fmt.Errorf("there is no variable %.64q", name)
		}
		whole = whole && value != ""
		if b.Len()+len(value) > maxInterpolated {
			return "", false, fmt.Errorf("it becomes longer than %d bytes", maxInterpolated)
		}
		b.WriteString(value)
		text = rest[end+1:]
	}
	if b.Len() > maxInterpolated {
		return "", false, fmt.Errorf("it becomes longer than %d bytes", maxInterpolated)
	}
	return b.String(), whole, nil
}

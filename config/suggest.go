package config

import (
	"fmt"

	"github.com/legate-project/legate/internal/spelling"
)

// didYouMean names the key of a block that is nearest to an unknown one, or
// nothing if none is near.
func didYouMean(key string, fields []field) string {
	best, name := len(key)/3+2, ""
	for _, f := range fields {
		for _, known := range append([]string{f.key}, f.aliases...) {
			if n := spelling.Distance(key, known); n < best {
				best, name = n, f.key
			}
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", name)
}

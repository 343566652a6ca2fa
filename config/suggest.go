package config

import "fmt"

// didYouMean names the key of a block that is nearest to an unknown one, or
// nothing if none is near.
func didYouMean(key string, fields []field) string {
	best, name := len(key)/3+2, ""
	for _, f := range fields {
		for _, known := range append([]string{f.key}, f.aliases...) {
			if n := distance(key, known); n < best {
				best, name = n, f.key
			}
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", name)
}

// maxCompared bounds the work on keys that come from a broken file.
const maxCompared = 64

// distance is the Levenshtein distance: the least number of bytes to insert,
// remove or replace to make b of a.
func distance(a, b string) int {
	if len(a) > maxCompared || len(b) > maxCompared {
		return maxCompared
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

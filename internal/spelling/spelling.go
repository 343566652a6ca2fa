// Package spelling says how far words are apart, for those who mistype a name. It knows no names.
package spelling

// maxCompared bounds the work on keys that come from a broken file.
const maxCompared = 64

// Distance is the Levenshtein distance: the least number of bytes to insert,
// remove or replace to make b of a; 64 if one is longer than that.
func Distance(a, b string) int {
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

// Package cachecontrol reads the Cache-Control header of requests (RFC 9111,
// section 5.2.1, and RFC 5861 for stale-if-error), as far as reads that may be
// answered from what an agent keeps understand it. It knows no caches.
package cachecontrol

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Directives are what a request says. Zero values are what it does not say.
type Directives struct {
	// MaxAge is how old an answer may be; StaleIfError the same while what owns it
	// cannot be asked.
	MaxAge, StaleIfError time.Duration
	// Revalidate asks for nothing that is kept: must-revalidate or max-age=0.
	Revalidate bool
}

// Parse reads the lines of the header. What it does not know is left out; a time
// that is no whole number of seconds is an error.
func Parse(lines []string) (Directives, error) {
	var d Directives
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			var err error
			switch name = strings.ToLower(name); name {
			case "must-revalidate":
				d.Revalidate = true
			case "stale-if-error":
				d.StaleIfError, err = seconds(name, value)
			case "max-age":
				d.MaxAge, err = seconds(name, value)
				d.Revalidate = d.Revalidate || d.MaxAge == 0
			}
			if err != nil {
				return Directives{}, err
			}
		}
	}
	return d, nil
}

func seconds(name, value string) (time.Duration, error) {
	n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("Invalid value for %s in Cache-Control: want a whole number of seconds", name)
	}
	return time.Duration(n) * time.Second, nil
}

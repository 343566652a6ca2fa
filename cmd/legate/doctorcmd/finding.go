package doctorcmd

import (
	"fmt"
	"slices"
)

// Results of a check, the worst first.
const (
	isProblem = "problem" // it hurts, or will at the next fault
	isWarning = "warning" // it is not as it should be
	isSkipped = "skipped" // it could not be looked at
	isFine    = "ok"
)

// Finding is what one check says of one subject. The names are those of -format=json.
type Finding struct {
	Check   string // its name, which stays
	Subject string // what was looked at: a node, a datacenter, a file; empty for this agent
	Result  string // ok, warning, problem or skipped
	Found   string // a sentence with the figures
	Do      string // what to do about it; empty where there is nothing
}

func fine(format string, args ...any) Finding {
	return Finding{Result: isFine, Found: fmt.Sprintf(format, args...) + "."}
}

func warning(format string, args ...any) Finding {
	return Finding{Result: isWarning, Found: fmt.Sprintf(format, args...)}
}

func problem(format string, args ...any) Finding {
	return Finding{Result: isProblem, Found: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Finding {
	return Finding{Result: isSkipped, Found: fmt.Sprintf(format, args...)}
}

// of names what was looked at.
func (f Finding) of(subject string) Finding {
	f.Subject = subject
	return f
}

// do says what helps.
func (f Finding) do(format string, args ...any) Finding {
	f.Do = fmt.Sprintf(format, args...)
	return f
}

// check is one thing that is looked at.
type check struct {
	name  string
	needs []source // what it is made of: if one of them is missing, it is skipped
	look  func(*facts) []Finding
}

// one is a check that says one thing.
func one(name string, look func(*facts) Finding, needs ...source) check {
	return check{name, needs, func(f *facts) []Finding { return []Finding{look(f)} }}
}

// some is a check that says a thing for each subject.
func some(name string, look func(*facts) []Finding, needs ...source) check {
	return check{name, needs, look}
}

// examine goes through the checks. Each says something, if only that it was skipped.
func examine(f *facts, checks []check) []Finding {
	var all []Finding
	for _, c := range checks {
		found := []Finding(nil)
		if at := slices.IndexFunc(c.needs, func(s source) bool { return f.lacks[s] != "" }); at >= 0 {
			found = []Finding{skipped("%s", f.lacks[c.needs[at]])}
		} else {
			found = c.look(f)
		}
		for _, one := range found {
			one.Check = c.name
			all = append(all, one)
		}
	}
	return all
}

// worst is how bad the worst finding is.
func worst(all []Finding) string {
	w := isFine
	for _, f := range all {
		if f.Result == isProblem || f.Result == isWarning && w != isProblem {
			w = f.Result
		}
	}
	return w
}

// orFine says that all is well if nothing was found.
func orFine(found []Finding, format string, args ...any) []Finding {
	if len(found) == 0 {
		return []Finding{fine(format, args...)}
	}
	return found
}

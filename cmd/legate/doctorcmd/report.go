package doctorcmd

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/legate-project/legate/cmd/legate/command"
)

// pageWidth is how long lines for people are at most, in characters.
const pageWidth = 100

// manySkipped are more checks than are named where what was skipped is summed up.
const manySkipped = 12

// report is how findings are shown to people.
type report struct {
	all  bool // what is well, too
	wide int
}

// write shows problems first, then warnings, then how many checks found nothing, and
// what was skipped by reason.
func (r report) write(w io.Writer, found []Finding) error {
	var b strings.Builder
	n := map[string]int{}
	reasons := map[string][]string{}
	var order []string
	for _, f := range found {
		n[f.Result]++
		if f.Result == isSkipped {
			if reasons[f.Found] == nil {
				order = append(order, f.Found)
			}
			if !slices.Contains(reasons[f.Found], f.Check) {
				reasons[f.Found] = append(reasons[f.Found], f.Check)
			}
		}
	}
	for _, result := range []string{isProblem, isWarning, isFine} {
		if result == isFine && !r.all {
			continue
		}
		for _, f := range found {
			if f.Result == result {
				r.paragraphs(&b, f)
			}
		}
	}
	fmt.Fprintf(&b, "%s, %s, %s found nothing.\n", count(n[isProblem], "problem"), count(n[isWarning], "warning"), count(n[isFine], "check"))
	for _, why := range order {
		which := strings.Join(reasons[why], ", ")
		if n := len(reasons[why]); n > manySkipped && !r.all {
			which = fmt.Sprintf("%d checks; -all names them", n)
		}
		r.wrap(&b, "Skipped: ", "  ", fmt.Sprintf("%s (%s).", command.Printable(why), which))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// paragraphs show one finding.
func (r report) paragraphs(b *strings.Builder, f Finding) {
	begin := map[string]string{isProblem: "Problem: ", isWarning: "Warning: ", isFine: "Well: "}[f.Result]
	title := f.Check
	if f.Subject != "" {
		title += ", " + command.Printable(f.Subject)
	}
	r.wrap(b, begin, "  ", title)
	r.wrap(b, "  ", "  ", command.Printable(f.Found))
	if f.Do != "" {
		r.wrap(b, "  Do: ", "      ", command.Printable(f.Do))
	}
	b.WriteString("\n")
}

// wrap writes words in lines that are no longer than the page, where words let it.
func (r report) wrap(b *strings.Builder, first, others, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > r.wide {
			b.WriteString(line + "\n")
			line, empty = others, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.WriteString(line + "\n")
}

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	what  string
	conns int
	out   outcome
	ratio float64       // of the bare server's rate in the same run; 0 for none
	bar   float64       // least ratio; 0 for none
	limit time.Duration // most p50; 0 for none
	// limit99 is the most p99, least the least rate; 0 for none.
	limit99 time.Duration
	least   float64
	mib     float64
	most    float64 // MiB; 0 for no bar
	core    float64 // percent of a core
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprintln(os.Stderr, strings.Join(b.cells(r), " | "))
}

// cells renders a row, and notes a missed bar.
func (b *bench) cells(r row) []string {
	if r.mib > 0 {
		bar := ""
		if r.most > 0 {
			bar = b.verdict(r.mib <= r.most, fmt.Sprintf("≤ %.0f MiB", r.most))
		}
		return []string{r.what, "", fmt.Sprintf("%.0f MiB", r.mib), "", "", "", bar}
	}
	if r.core > 0 {
		return []string{r.what, fmt.Sprint(r.conns), fmt.Sprintf("%.1f %% of a core", r.core), "", "", "", ""}
	}
	ratio, bar := "", ""
	if r.ratio > 0 {
		ratio = fmt.Sprintf("%.2f", r.ratio)
	}
	if r.bar > 0 {
		bar = b.verdict(r.ratio >= r.bar, fmt.Sprintf("≥ %.2f", r.bar))
	}
	if text, ok := r.promise(); text != "" {
		bar = b.verdict(ok, text)
	}
	ms := func(d time.Duration) string {
		if d == 0 { // not measured
			return ""
		}
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	}
	rate := ""
	if r.out.rate > 0 {
		rate = fmt.Sprintf("%.0f/s", r.out.rate)
	}
	return []string{r.what, fmt.Sprint(r.conns), rate, ratio, ms(r.out.p50), ms(r.out.p99), bar}
}

// promise is what a row's rate and times are held to, "" for nothing, and
// whether they keep it.
func (r row) promise() (text string, ok bool) {
	var parts []string
	ok = true
	if r.least > 0 {
		parts, ok = append(parts, fmt.Sprintf("≥ %.0f/s", r.least)), ok && r.out.rate >= r.least
	}
	if r.limit > 0 {
		parts, ok = append(parts, fmt.Sprintf("p50 ≤ %s", r.limit)), ok && r.out.p50 <= r.limit
	}
	if r.limit99 > 0 {
		parts, ok = append(parts, fmt.Sprintf("p99 ≤ %s", r.limit99)), ok && r.out.p99 <= r.limit99
	}
	return strings.Join(parts, ", "), ok
}

func (b *bench) verdict(ok bool, text string) string {
	if ok {
		return text + ", met"
	}
	b.missed = true
	return text + ", **missed**"
}

func (b *bench) table() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Measured on %s with %d cores, load and servers sharing them, %s a load.\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), b.seconds)
	s.WriteString("| what | connections | rate | of bare | p50 | p99 | bar |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range b.rows {
		fmt.Fprintf(&s, "| %s |\n", strings.Join(b.cells(r), " | "))
	}
	return s.String()
}

// Marks around the table in a document.
const (
	tableBegin = "<!-- table: make bench -->"
	tableEnd   = "<!-- end of table -->"
)

func replaceTable(file, table string) error {
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(doc), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no table to replace", file)
	}
	return os.WriteFile(file, []byte(before+tableBegin+"\n"+table+tableEnd+after), 0o644)
}

package debugcmd

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/legate-project/legate/cmd/legate/command"
)

const (
	shownRows  = 8  // of a table
	shownTurns = 15 // of who led when: the newest
	shownText  = 160
)

// Show is the command debug show.
func Show() command.Command {
	return command.Command{
		Name: "debug show", Synopsis: "Summarise an archive of debug", Args: "ARCHIVE", Min: 1, Max: 1,
		About: "Tells of an archive that legate debug made, or of a directory: what was cut off, who led when, what failed, what was\n" +
			"slow, worst first. It asks no agent. Profiles and the trace are for go tool pprof and go tool trace.",
		Example: "legate debug show legate-debug-20260102T030405Z.tar.gz",
		New:     func() command.Action { return showAction{} },
	}
}

type showAction struct{ command.NoFlags }

func (showAction) Run(c *command.Call, args []string) error {
	e, err := readEvidence(args[0])
	if err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	for _, part := range []func(io.Writer){e.head, e.showCuts, e.showViews, e.showMembers, e.showLeaders, e.showComplaints, e.showSlow, e.showProfiles} {
		part(c.Stdout)
	}
	return nil
}

// head says what the archive is of.
func (e *evidence) head(w io.Writer) {
	i := &e.index
	if e.broken != nil {
		fmt.Fprintf(w, "THE ARCHIVE IS CUT SHORT: %v\n", e.broken)
	}
	if i.Begin.IsZero() {
		return
	}
	fmt.Fprintf(w, "Node %s, %s to %s (%s, each %s)\n", clean(i.Node), stamp(i.Begin), stamp(i.End), short(i.End.Sub(i.Begin)), clean(i.Interval))
	fmt.Fprintf(w, "Agent %s, collected by legate %s", clean(i.AgentVersion), clean(i.Legate))
	if began := e.last.value(startTime); began > 0 {
		up := i.End.Sub(time.Unix(int64(began), 0))
		fmt.Fprintf(w, "; up for %s", short(up))
		if up < i.End.Sub(i.Begin) {
			fmt.Fprint(w, ": IT WAS RESTARTED MEANWHILE")
		}
	}
	fmt.Fprintln(w)
	for n, m := range i.Missing {
		if n == 2*shownRows {
			fmt.Fprintf(w, "Not collected: … and %d more, in index.json\n", len(i.Missing)-n)
			break
		}
		fmt.Fprintf(w, "Not collected: %s\n", clean(m))
	}
	if e.odd > 0 {
		fmt.Fprintf(w, "%d of %d lines of logs have no known form\n", e.odd, e.lines)
	}
}

// showCuts tells of datacenters that were not up, by the log and by how things
// stood.
func (e *evidence) showCuts(w io.Writer) {
	title := section(w, "WHAT WAS CUT")
	var rows []row
	for _, l := range e.cuts {
		text := "cut off: " + cmp.Or(l.attrs["error"], l.attrs["why"], "none of its servers answers")
		if l.message == "datacenter is reached again" {
			text = "reached again after " + short(l.duration("took"))
		}
		rows = append(rows, row{l.at, l.attrs["peer_datacenter"] + " " + text})
	}
	e.stretches(func(dc string, s stretch) {
		until := "until " + stamp(s.until)
		if s.open {
			until = "to the end"
		}
		reason := s.reason
		if s.breaker != "" && s.breaker != "closed" {
			reason += " (breaker " + s.breaker + ")"
		}
		rows = append(rows, row{s.from, fmt.Sprintf("%s %s, seen %s: %s", dc, s.state, until, reason)})
	})
	inOrder(title, rows)
	if n := sum(e.first, e.last, "legate_federation_breaker_opened_total"); n > 0 {
		title("  breakers opened %s", times(n, "time"))
	}
}

// row is a line of what happened when.
type row struct {
	at   time.Time
	text string
}

// inOrder writes the newest rows in the order of time.
func inOrder(write func(format string, args ...any), rows []row) {
	slices.SortStableFunc(rows, func(a, b row) int { return a.at.Compare(b.at) })
	if left := len(rows) - shownTurns; left > 0 {
		write("  (%d earlier lines left out)", left)
		rows = rows[left:]
	}
	for _, r := range rows {
		write("  %s  %s", stamp(r.at), clean(r.text))
	}
}

// stretch is a time in which a datacenter was in a state other than up.
type stretch struct {
	from, until            time.Time
	state, reason, breaker string
	open                   bool
}

// stretches calls f with those of the timeline.
func (e *evidence) stretches(f func(dc string, s stretch)) {
	now := map[string]*stretch{}
	for _, m := range e.moments {
		for _, l := range m.Federation {
			s := now[l.Datacenter]
			if s != nil && s.state != l.State {
				s.until, s.open = m.At, false
				f(l.Datacenter, *s)
				delete(now, l.Datacenter)
				s = nil
			}
			if s == nil && l.State != "up" && len(now) < maxKinds {
				now[l.Datacenter] = &stretch{from: m.At, state: l.State, reason: l.Reason, breaker: l.Breaker, open: true}
			}
		}
	}
	for _, dc := range slices.Sorted(maps.Keys(now)) {
		f(dc, *now[dc])
	}
}

func (e *evidence) showMembers(w io.Writer) {
	title := section(w, "MEMBERS THAT FAILED")
	names := slices.SortedFunc(maps.Keys(e.members), func(a, b string) int {
		return cmp.Or(cmp.Compare(e.members[b].failed, e.members[a].failed), cmp.Compare(a, b))
	})
	for i, name := range names {
		m := e.members[name]
		if i == shownRows {
			title("  … and %d more", len(names)-i)
			break
		}
		text := "failed " + times(float64(m.failed), "time") + ", came back " + times(float64(m.back), "time")
		if m.why != "" {
			text += "; " + m.why
		}
		if m.absent != "" {
			text += "; gone for " + m.absent
		}
		title("  %s  %s", clean(name), clean(text))
	}
	if len(e.moments) == 0 {
		return
	}
	at := e.moments[len(e.moments)-1]
	for _, x := range []struct {
		pool    string
		members map[string]string
	}{{"lan", at.Members}, {"wan", at.WAN}} {
		for i, name := range slices.Sorted(maps.Keys(x.members)) {
			if i == shownRows {
				title("  … and %d more of %s", len(x.members)-i, x.pool)
				break
			}
			title("  %s %s is %s at the end", x.pool, clean(name), clean(x.members[name]))
		}
	}
}

// showViews tells of the local copies of what other datacenters have: how many
// the agent's datacenter holds at the end, and how old the oldest grew.
func (e *evidence) showViews(w io.Writer) {
	title := section(w, "VIEWS OF OTHER DATACENTERS (at the end)")
	if len(e.moments) == 0 {
		return
	}
	worst := map[string]moment{}
	age := map[string]float64{}
	for _, m := range e.moments {
		for _, l := range m.Federation {
			if l.Views > 0 && l.OldestAgeMS > age[l.Datacenter] {
				age[l.Datacenter], worst[l.Datacenter] = l.OldestAgeMS, m
			}
		}
	}
	at := len(e.moments) - 1
	for at > 0 && e.moments[at].Federation == nil { // the agent is gone
		at--
	}
	for i, l := range e.moments[at].Federation {
		if i == shownTurns {
			break
		}
		text := times(float64(l.Views), "view")
		if l.Views > 0 {
			text += ", the oldest of " + seconds(l.OldestAgeMS/1000) + " ago"
		}
		if most := age[l.Datacenter]; most > l.OldestAgeMS || l.Views == 0 && most > 0 {
			text += ", at worst " + seconds(most/1000) + " at " + stamp(worst[l.Datacenter].At)
		}
		if l.Views > 0 || age[l.Datacenter] > 0 {
			title("  %s  %s", clean(l.Datacenter), text)
		}
	}
}

// showLeaders tells who led when, and how long nobody did.
func (e *evidence) showLeaders(w io.Writer) {
	title := section(w, "WHO LED WHEN")
	elections := sum(e.first, e.last, "legate_raft_elections_total")
	absent := sum(e.first, e.last, "legate_raft_leaderless_seconds_total")
	if elections > 0 || absent > 0 {
		title("  this server began %s and knew no leader for %s in all", times(elections, "election"), short(time.Duration(absent*float64(time.Second))))
	}
	var rows []row
	for _, l := range e.leaders {
		rows = append(rows, row{l.at, "term " + cmp.Or(l.attrs["term"], "?") + "  " + turn(l)})
	}
	before := ""
	for _, m := range e.moments {
		now := cmp.Or(m.Leader, "NO LEADER")
		if m.Leader == "" && slices.ContainsFunc(m.Unknown, func(u string) bool { return strings.HasPrefix(u, "raft") }) {
			now = "unknown, the agent did not say" // that nobody leads is another matter
		}
		if now == before {
			continue
		}
		before = now
		rows = append(rows, row{m.At, fmt.Sprintf("term %v  at the interval: %s", cmp.Or(m.Stats["raft"]["term"], any("?")), now)})
	}
	inOrder(title, rows)
}

// turn is a line about leaders in few words.
func turn(l logLine) string {
	switch l.message {
	case "a leader is known":
		if d := l.duration("absent"); d > 0 {
			return l.attrs["leader"] + " leads; there was no leader for " + short(d)
		}
		return l.attrs["leader"] + " leads"
	case "no leader is known":
		return "NO LEADER; it was " + l.attrs["was"]
	case "this server begins an election":
		text := l.node + " begins an election: " + l.attrs["why"]
		if d := l.duration("last_contact"); d > 0 {
			text += " since " + short(d)
		}
		return text
	}
	return fmt.Sprintf("%s: %s after %s", l.node, l.message, short(l.duration("took")))
}

func (e *evidence) showComplaints(w io.Writer) {
	title := section(w, "ERRORS AND WARNINGS")
	all := slices.SortedFunc(maps.Values(e.complaints), func(a, b *complaint) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(b.count, a.count), cmp.Compare(a.message, b.message)) // ERROR is before WARN
	})
	for i, c := range all {
		if i == shownRows {
			title("  … and %d more kinds", len(all)-i)
			break
		}
		title("  %5d × %s %s: %s", c.count, clean(c.level), clean(c.component), clean(c.message))
		detail := cmp.Or(c.last.attrs["error"], c.last.attrs["why"])
		if detail != "" {
			detail = ": " + detail
		}
		title("          first %s, last %s%s", stamp(c.first.at), stamp(c.last.at), clean(detail))
	}
}

func (e *evidence) showSlow(w io.Writer) {
	title := section(w, "WHAT WAS SLOW (99th percentile, median, how often)")
	all := slowest(e.first, e.last)
	for i, s := range all {
		if i >= 2*shownRows && !isOneOf(s.series, "legate_raft_commit_seconds", "legate_raft_log_fsync_seconds", "legate_raft_apply_seconds") {
			continue
		}
		title("  %9s %9s %8.0f  %s", seconds(s.p99), seconds(s.p50), s.count, clean(strings.TrimPrefix(s.series, "legate_")))
	}
	if n := e.last.value("legate_raft_failed"); n > 0 {
		title("  RAFT HAS FAILED on this server: see its log and its disk")
	}
}

func (e *evidence) showProfiles(w io.Writer) {
	title := section(w, "GOROUTINES AND HEAP (newest; more with go tool pprof)")
	for _, x := range []struct {
		what string
		text []byte
		show func(int64) string
	}{
		{"goroutines", e.goroutines, func(n int64) string { return fmt.Sprint(n) }},
		{"heap", e.heap, func(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }},
	} {
		if x.text == nil {
			continue
		}
		top, total, err := topHolders(x.text, ours)
		if err != nil {
			title("  %s: %v", x.what, err)
			continue
		}
		title("  %s: %s", x.what, x.show(total))
		for i, h := range top {
			if i == shownRows/2 {
				break
			}
			title("    %10s  %s", x.show(h.value), clean(path.Base(typeArguments.ReplaceAllString(h.function, "[…]"))))
		}
	}
}

// typeArguments are those of a generic function, with paths of their own.
var typeArguments = regexp.MustCompile(`\[.*\]`)

// ours is the innermost function of a stack that is not the runtime's: it says
// more than that somebody waits.
func ours(stack []string) string {
	for _, f := range stack {
		if !strings.HasPrefix(f, "runtime.") && !strings.HasPrefix(f, "internal/") && !strings.HasPrefix(f, "sync.") && f != "" {
			return f
		}
	}
	return ""
}

// section returns what writes the lines of one; its title comes with the first.
func section(w io.Writer, name string) func(format string, args ...any) {
	begun := false
	return func(format string, args ...any) {
		if !begun {
			begun = true
			fmt.Fprintf(w, "\n%s\n", name)
		}
		fmt.Fprintf(w, format+"\n", args...)
	}
}

// clean makes text of an archive harmless and short: it may be made to fool a
// terminal.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > shownText {
		s = strings.ToValidUTF8(s[:shownText], "") + "…"
	}
	return s
}

// times counts: once, 2 times; 1 election, 2 elections.
func times(n float64, what string) string {
	switch {
	case n == 1 && what == "time":
		return "once"
	case n == 1:
		return "1 " + what
	case n == 0 && what == "time":
		return "never"
	}
	return fmt.Sprintf("%.0f %ss", n, what)
}

func stamp(t time.Time) string { return t.UTC().Format("01-02 15:04:05.000") }

// short is a duration with about three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func seconds(s float64) string { return short(time.Duration(s * float64(time.Second))) }

package gossipsim

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The table stands between these lines of the page.
const (
	tableBegins = "<!-- made by make gossip-sim -->\n"
	tableEnds   = "<!-- end -->\n"
)

// TestReport is the long form of the simulation: it asserts what the short one
// does and writes what it measured into a page.
func TestReport(t *testing.T) {
	page := os.Getenv(reportTo)
	if page == "" {
		t.Skip(reportTo + " names no page: make gossip-sim does")
	}
	var out strings.Builder
	reportCalm(t, &out)
	reportRoundTrips(t, &out)
	reportNews(t, &out)
	reportChurn(t, &out)
	reportPartial(t, &out)
	reportNewcomers(t, &out)
	if t.Failed() {
		return
	}
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(old), tableBegins)
	_, tail, ended := strings.Cut(rest, tableEnds)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	if err := os.WriteFile(page, []byte(head+tableBegins+out.String()+tableEnds+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

func reportNews(t *testing.T, out *strings.Builder) {
	t.Helper()
	out.WriteString("\n### News\n\n| datacenters | servers | all know a new server | first, all know a failed one | bytes/s, packets/s a server | bytes/s while one flaps | live servers failed meanwhile |\n|---|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		datacenters int
		failed      time.Duration
		bytes       float64
	}{{10, time.Minute, 1000}, {50, 90 * time.Second, 1500}, {200, 2 * time.Minute, 4000}} {
		n := learn(t, c.datacenters)
		n.judge(t, c.failed, c.bytes)
		fmt.Fprintf(out, "| %d | %d | %.1f s | %.0f s, %.0f s | %.0f, %.1f | %.0f | %d |\n", c.datacenters, 3*c.datacenters, n.Joined.Seconds(),
			n.FirstFailed.Seconds(), n.Failed.Seconds(), n.Bytes, n.Packets, n.BusyBytes, n.FailuresOfTheOther)
	}
}

func reportChurn(t *testing.T, out *strings.Builder) {
	t.Helper()
	const day = 24 * time.Hour
	out.WriteString("\n### Churn, 24h0m0s\n\n| datacenters | servers | killed, restarted, left or cut off for minutes | live servers taken for failed | longest that a live server was not known as alive | lost for good |\n|---|---|---|---|---|---|\n")
	c := churn(t, 20, 6, day)
	fmt.Fprintf(out, "| 20 | %d | %d | %d | %v | %d |\n", c.Servers, c.Events, c.False, c.Longest, len(c.Lost))
}

func reportPartial(t *testing.T, out *strings.Builder) {
	t.Helper()
	out.WriteString(partialHead)
	for _, c := range []struct{ datacenters, servers int }{{20, 3}, {40, 5}, {200, 5}} {
		out.WriteString(losePart(t, c.datacenters, c.servers, 10*time.Minute).row(c.datacenters))
	}
}

func reportNewcomers(t *testing.T, out *strings.Builder) {
	t.Helper()
	out.WriteString("\n### Servers that come to a large pool, four at a time\n\n| datacenters | servers | links missing | came | longest until one knew another | later than 10 s | bytes/s a server |\n|---|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		datacenters, servers int
		missing              float64
	}{{200, 1, 0}, {200, 1, 0.1}, {200, 5, 0}, {200, 5, 0.1}} {
		n := come(t, c.datacenters, c.servers, 5, c.missing)
		fmt.Fprintf(out, "| %d | %d | %.0f %% | %d | %.1f s | %d | %.0f |\n", c.datacenters, n.Servers, 100*c.missing, n.New, n.Longest.Seconds(), n.Late, n.Bytes)
	}
}

const partialHead = "\n### A tenth of the links is missing, 10m0s\n\n| datacenters | servers | links missing | live servers failed, suspicions in the 5 min after they were lost | in the 10 min after that | bytes/s, packets/s a server | connections a server, opened a minute, closed after 1 min | 2 min without use |\n|---|---|---|---|---|---|---|---|\n"

func (p Partial) row(datacenters int) string {
	row := fmt.Sprintf("| %d | %d | %d of %d | %d, %.0f | %d, %.0f | %.0f, %.1f |", datacenters, p.Servers, p.Missing, p.Links,
		p.After.Failures, p.After.Suspicions, p.Calm.Failures, p.Calm.Suspicions, p.Bytes, p.Packets)
	for _, idle := range idleTimes() {
		c := p.Connections[idle]
		// Each connection has two ends.
		row += fmt.Sprintf(" %.0f, %.1f |", 2*c.Open.Seconds()/p.Time.Seconds()/float64(p.Servers), 2*float64(c.Opened)/p.Time.Minutes()/float64(p.Servers))
	}
	return row + "\n"
}

func reportCalm(t *testing.T, out *strings.Builder) {
	t.Helper()
	fmt.Fprintf(out, "\n### Calm, %v\n\n| what | servers | failures of live servers | suspicions | refutations |\n|---|---|---|---|---|\n", hour())
	for _, c := range []struct {
		what        string
		datacenters int
		cut         bool
	}{{"20 datacenters", 20, false}, {"3 datacenters, two cannot reach each other", 3, true}, {"20 datacenters, two cannot reach each other", 20, true}} {
		got := watch(t, c.datacenters, func(f *Federation) { f.Cut(0, 1, c.cut) })
		if got.Failures > 0 {
			t.Errorf("%s: %+v", c.what, got)
		}
		fmt.Fprintf(out, "| %s | %d | %d | %.0f | %.0f |\n", c.what, got.Servers, got.Failures, got.Suspicions, got.Refutations)
	}
}

func reportRoundTrips(t *testing.T, out *strings.Builder) {
	t.Helper()
	regions, err := CloudRegions()
	if err != nil {
		t.Fatal(err)
	}
	times := []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, time.Hour}
	out.WriteString("\n### Round trips\n\n| network | after | median error | 90th percentile | order right by coordinates | by own probes |\n|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		what    string
		trips   [][]time.Duration
		servers int
	}{{"10 cloud regions, 3 servers each", regions, 3}, {"50 PlanetLab hosts", planetLabHosts(t, 50), 1}, {"100 PlanetLab hosts", planetLabHosts(t, 100), 1}} {
		var last Accuracy
		simulate(t, bad(c.trips, c.servers), func(_ *testing.T, f *Federation) {
			at := time.Duration(0)
			for _, next := range times {
				f.Run(next - at)
				at, last = next, Measure(f)
				fmt.Fprintf(out, "| %s | %.0f min | %.1f %% | %.0f %% | %.1f %% | %.1f %% |\n", c.what, next.Minutes(),
					100*last.Median, 100*last.P90, 100*last.Order, 100*last.Probed)
			}
		})
		t.Logf("%s: %+v", c.what, last)
		if last.Median > 0.1 || max(last.Order, last.Probed) < 0.95 {
			t.Errorf("%s, settled: %+v", c.what, last)
		}
	}
}

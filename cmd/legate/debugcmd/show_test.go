package debugcmd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

const testIndex = `{"Legate":"1","AgentVersion":"2","Node":"n1","Begin":"2026-01-02T03:04:00Z","End":"2026-01-02T03:05:00Z","Interval":"10s","Missing":["pprof: they take enable_debug"]}`

// show runs debug show on a directory with these files.
func show(t *testing.T, files map[string]string) commandtest.Result {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return commandtest.Run(t, commands(), nil, "", "debug", "show", dir)
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestShowTellsWhatHappened(t *testing.T) {
	var heap bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&heap, 0); err != nil {
		t.Fatal(err)
	}
	r := show(t, map[string]string{
		"index.json": testIndex,
		"legate.log": `2026-01-02T03:04:05.001Z [WARN]  raft: no leader is known: node=n1 datacenter=dc1 term=3 was=n2
2026-01-02T03:04:05.100Z [INFO]  raft: this server begins an election: node=n1 datacenter=dc1 term=3 why="no word from the leader" leader=n2 last_contact=612ms
2026-01-02T03:04:06.000Z [INFO]  raft: a leader is known: node=n1 datacenter=dc1 term=4 leader=n3 id=x absent=999ms
2026-01-02T03:04:07.000Z [WARN]  agent: member failed: node=n1 datacenter=dc1 pool=lan member=n2 address=1.2.3.4 why="others say so"
2026-01-02T03:04:08.000Z [ERROR] dns: lookup failed: node=n1 datacenter=dc1 error="no \"route\": \x1b[31mred"
`,
		// The same lines again, in the other forms of a log file, and more.
		"file-a.log": `time=2026-01-02T03:04:05.001Z level=WARN msg="no leader is known" component=raft node=n1 datacenter=dc1 term=3 was=n2
{"time":"2026-01-02T03:04:07.000123Z","level":"WARN","msg":"member failed","component":"agent","node":"n1","pool":"lan","member":"n2","why":"others say so"}
{"time":"2026-01-02T03:04:20Z","level":"INFO","msg":"member is back","component":"agent","node":"n1","pool":"lan","member":"n2","absent":13000000000}
{"time":"2026-01-02T03:04:30Z","level":"WARN","msg":"datacenter is cut off: none of its servers answers","component":"federation","node":"n1","peer_datacenter":"dc2","error":"timeout"}
{"time":"2026-01-02T03:04:40Z","level":"WARN","msg":"datacenter is cut off: none of its servers answers","component":"federation","node":"n1","peer_datacenter":"dc4","why":"gossip holds them failed"}
{"time":"2026-01-02T03:04:44Z","level":"INFO","msg":"datacenter is reached again","component":"federation","node":"n1","peer_datacenter":"dc2","took":14000000000}
`,
		timelineFile: `{"At":"2026-01-02T03:04:00Z","Leader":"10.0.0.2:8300","Stats":{"raft":{"term":"3"}},"Federation":[{"Datacenter":"dc3","State":"up"}]}
{"At":"2026-01-02T03:04:10Z","Leader":"10.0.0.3:8300","Stats":{"raft":{"term":"4"}},"Federation":[{"Datacenter":"dc3","Views":2,"OldestAgeMS":9000,"State":"degraded","Reason":"1 of 3","Breaker":"closed"}]}
{"At":"2026-01-02T03:04:20Z","Leader":"10.0.0.3:8300","Federation":[{"Datacenter":"dc3","State":"up","Views":1,"OldestAgeMS":500}],"WAN":{"x.dc3":"failed"}}
`,
		firstExposition: "h_seconds_bucket{op=\"a\",le=\"1\"} 100\nh_seconds_bucket{op=\"a\",le=\"3\"} 100\nh_seconds_bucket{op=\"a\",le=\"+Inf\"} 100\nlegate_raft_elections_total 1\nprocess_start_time_seconds 1767323040\n",
		lastExposition: "h_seconds_bucket{op=\"a\",le=\"1\"} 100\nh_seconds_bucket{op=\"a\",le=\"3\"} 200\nh_seconds_bucket{op=\"a\",le=\"+Inf\"} 200\nidle_seconds_bucket{le=\"+Inf\"} 0\n" +
			"legate_raft_elections_total 3\nprocess_start_time_seconds 1767323040\n",
		"file-b.txt":         "no line\n",
		"goroutine-000.prof": heap.String(),
	})
	if r.Code != 0 {
		t.Fatal(r.Err)
	}
	contains(t, r.Out, "Node n1, 01-02 03:04:00.000 to 01-02 03:05:00.000 (1m0s, each 10s)", "up for 1m0s\n", "Not collected: pprof: they take enable_debug",
		"dc3 degraded, seen until 01-02 03:04:20.000: 1 of 3\n  01-02 03:04:30.000  dc2 cut off: timeout", "dc2 reached again after 14s",
		"dc3  1 view, the oldest of 500ms ago, at worst 9s at 01-02 03:04:10.000", "1 of 12 lines of logs", "dc4 cut off: gossip holds them failed",
		"lan n2  failed once, came back once; others say so; gone for 13s", "wan x.dc3 is failed at the end",
		"this server began 2 elections", "NO LEADER; it was n2", "n1 begins an election: no word from the leader since 612ms", "term 4  n3 leads; there was no leader for 999ms", "at the interval: 10.0.0.3:8300",
		"1 × ERROR dns: lookup failed", `no "route":  [31mred`, "2.98s        2s      100  h_seconds{op=\"a\"}", "goroutines: ", "testing.(*T).Run")
	if strings.ContainsRune(r.Out, '\x1b') || strings.Contains(r.Out, "idle_seconds") {
		t.Errorf("%q", r.Out)
	}
	if strings.Count(r.Out, "NO LEADER; it was") != 1 {
		t.Errorf("a line that stands in two files is told twice:\n%s", r.Out)
	}
}

// packed is an archive with these files, whatever their names.
func packed(t *testing.T, files ...*tar.Header) string {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, h := range files {
		text := h.PAXRecords["X.text"]
		h.PAXRecords = nil
		h.Size, h.Mode = int64(len(text)), 0o600
		if err := archive.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.tar.gz")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func member(name, text string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"X.text": text}}
}

func TestShowOfArchivesThatMeanHarm(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	long := strings.Repeat("x", 3*maxLogLine)
	var kinds strings.Builder
	for i := range 3 * maxKinds {
		fmt.Fprintf(&kinds, "2026-01-02T03:04:08.%03dZ [ERROR] dns: kind %d\n", i%1000, i)
	}
	path := packed(t, member("x/index.json", testIndex), member("../../../../../../../.."+outside, "evil"), member(outside, "evil"),
		&tar.Header{Name: "x/legate.log", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd", PAXRecords: map[string]string{}},
		member("x/legate.log", "no line\n"+long+"\n"+kinds.String()), member("x/"+timelineFile, "{\n"+long+"\nnull\n[]\n"), member("x/"+lastExposition, "a_seconds_bucket{le=\"x\"} 1\nb\nc_seconds_bucket{le=\"+Inf\"} 5\n"),
		member("x/heap-000.prof", "\xff\xff\xff\xff\xff\xff"))
	began := time.Now()
	r := commandtest.Run(t, commands(), nil, "", "debug", "show", path)
	if r.Code != 0 || time.Since(began) > 10*time.Second {
		t.Fatalf("code %d after %s: %s", r.Code, time.Since(began), r.Err)
	}
	contains(t, r.Out, "1 of ", "have no known form", "… and 1992 more kinds", "heap: it is no profile")
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file was written outside")
	}
	if strings.Count(r.Out, "\n") > 60 {
		t.Errorf("it is long:\n%s", r.Out)
	}
	for name, bad := range map[string]string{"is no archive": filepath.Join(filepath.Dir(path), "text"), "no index.json": packed(t, member("a", "b")), "no such file": "/nowhere"} {
		if name == "is no archive" {
			if err := os.WriteFile(bad, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := commandtest.Run(t, commands(), nil, "", "debug", "show", bad); r.Code != 1 || !strings.Contains(r.Err, name) {
			t.Errorf("%s: code %d: %s", name, r.Code, r.Err)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(`2026-01-02T03:04:05.001Z [WARN]  raft: no leader is known: node=n1 a="b`)
	f.Add(`time=2026-01-02T03:04:05Z level=WARN msg=x component="`)
	f.Add(`{"time":"2026-01-02T03:04:05Z","msg":"x"}`)
	f.Fuzz(func(t *testing.T, line string) {
		if l, ok := parseLine(line); ok && l.message == "" {
			t.Error("a line without a message")
		}
		_, _ = readProfile([]byte(line)) // it must end
	})
}

func TestCountersOfARestartedAgentBeganAnew(t *testing.T) {
	const series = "legate_raft_elections_total %d\nh_seconds_bucket{le=\"1\"} %d\nh_seconds_bucket{le=\"+Inf\"} %[2]d\nprocess_start_time_seconds %d\n"
	r := show(t, map[string]string{"index.json": testIndex, firstExposition: fmt.Sprintf(series, 9, 500, 1767320000), lastExposition: fmt.Sprintf(series, 1, 20, 1767323050)})
	contains(t, r.Out, "IT WAS RESTARTED MEANWHILE", "this server began 1 election and", "      20  h_seconds")
}

// What is kept of an archive is small, however much there is of it.
func TestLittleIsKeptOfALargeArchive(t *testing.T) {
	e := &evidence{left: 1 << 20}
	path := packed(t, member("x/a.log", strings.Repeat("a", 600<<10)), member("x/b.log", strings.Repeat("b", 600<<10)), member("x/index.json", testIndex))
	if err := e.readArchive(path); err == nil || !strings.Contains(err.Error(), "the archive has more than") {
		t.Errorf("beyond its bound: %v", err)
	}
	long := strings.Repeat("x", 100<<10)
	l, ok := parseLine(`2026-01-02T03:04:08Z [WARN] raft: no leader is known: node=` + long + ` was=` + long + ` other=` + long)
	if l = l.kept(); !ok || len(l.node) != maxKept || len(l.attrs["was"]) != maxKept || len(l.attrs) != 1 {
		t.Errorf("of a line %d attributes are kept, %d bytes of one", len(l.attrs), len(l.attrs["was"]))
	}
	e.addMoment(moment{Leader: long, WAN: map[string]string{"a": "failed"}, Unknown: make([]string, 100), Federation: make([]linkState, 2*maxLinks), Stats: map[string]map[string]any{"serf_lan": {"a": long}}})
	e.addMoment(moment{})
	if m := e.moments[0]; len(m.Leader) != maxKept || m.WAN != nil || len(m.Unknown) > shownRows || len(m.Federation) != maxLinks || len(m.Stats) != 1 {
		t.Errorf("of a moment too much is kept")
	}
	if _, err := readProfile([]byte("2\x00" + strings.Repeat("\x12\x00", maxStacks+1))); err != errProfile {
		t.Errorf("a profile of %d stacks: %v", maxStacks+1, err)
	}
	var missing strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&missing, `,"m%d"`, i)
	}
	r := show(t, map[string]string{"index.json": strings.Replace(testIndex, `enable_debug"`, `enable_debug"`+missing.String(), 1)})
	if contains(t, r.Out, "… and 985 more, in index.json"); strings.Count(r.Out, "\n") > 30 {
		t.Errorf("it is long:\n%s", r.Out)
	}
}

func TestShowOfAnArchiveThatIsCutShort(t *testing.T) {
	noise := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	path := packed(t, member("x/a.log", "2026-01-02T03:04:08.000Z [ERROR] dns: lookup failed: node=n1\n"), member("x/z", string(noise)), member("x/index.json", testIndex))
	if err := os.Truncate(path, 32<<10); err != nil {
		t.Fatal(err)
	}
	r := commandtest.Run(t, commands(), nil, "", "debug", "show", path)
	contains(t, r.Out, "THE ARCHIVE IS CUT SHORT", "1 × ERROR dns: lookup failed")
	if r.Code != 0 || strings.Contains(r.Out, "Node") {
		t.Errorf("code %d: %s\n%s", r.Code, r.Err, r.Out)
	}
}

// That an agent died does not say that nobody led.
func TestAnAgentThatIsGoneSaysNothingOfALeader(t *testing.T) {
	r := show(t, map[string]string{"index.json": testIndex, timelineFile: `{"At":"2026-01-02T03:04:00Z","Leader":"10.0.0.2:8300","Federation":[{"Datacenter":"dc2","State":"up","Views":3,"OldestAgeMS":100}]}
{"At":"2026-01-02T03:04:10Z","Leader":"","Unknown":["raft: no agent answers","federation: no agent answers"]}
`})
	contains(t, r.Out, "at the interval: unknown, the agent did not say", "dc2  3 views, the oldest of 100ms ago")
	if strings.Contains(r.Out, "NO LEADER") {
		t.Error(r.Out)
	}
}

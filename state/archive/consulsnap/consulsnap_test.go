package consulsnap

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/archive/pack"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// snapshot reads one that a Consul 1.21.4 server made.
func snapshot(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".snap"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packed is a snapshot with this state.
func packed(t testing.TB, state []byte) []byte {
	t.Helper()
	const meta = `{"Version":1,"ID":"3-9-1000","Index":9,"Term":3}`
	sums := fmt.Sprintf("%x  meta.json\n%x  state.bin\n", sha256.Sum256([]byte(meta)), sha256.Sum256(state))
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	out := tar.NewWriter(z)
	for _, f := range []struct{ name, text string }{{"meta.json", meta}, {"state.bin", string(state)}, {"SHA256SUMS", sums}} {
		err := out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.text))})
		if err == nil {
			_, err = io.WriteString(out, f.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// stated is a snapshot with these records: types and values by turns.
func stated(t testing.TB, records ...any) []byte {
	t.Helper()
	state := append([]byte("\x81\xa9LastIndex"), 9)
	for i := 0; i < len(records); i += 2 {
		state = append(state, byte(records[i].(int)))
		var err error
		if state, err = msgp.AppendIntf(state, records[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return packed(t, state)
}

type m = map[string]any

// converted returns the rows that a snapshot becomes, by key.
func converted(t testing.TB, b []byte) (map[string][]byte, archive.Meta, *Report) {
	t.Helper()
	folder := t.TempDir()
	var out bytes.Buffer
	report, err := Convert(bytes.NewReader(b), &out, folder)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
	check := storage.NewCheck(slices.Concat(catalog.Tables(), kv.Tables(), session.Tables(), otherTables()))
	rows := map[string][]byte{}
	meta, err := archive.Read(&out, func(r archive.Row) error {
		rows[string(r.Key)] = bytes.Clone(r.Value)
		return check.Row(storage.Row(r))
	})
	if err := errors.Join(err, check.End()); err != nil {
		t.Fatal(err)
	}
	return rows, meta, report
}

func entry(t testing.TB, rows map[string][]byte, key string) *kv.Entry {
	t.Helper()
	row := rows["r\x01"+key]
	if row == nil {
		t.Fatalf("no key %q", key)
	}
	var e kv.Entry
	if _, err := e.UnmarshalMsg(row[9:]); err != nil {
		t.Fatal(err)
	}
	return &e
}

func kinds(list []Kind) string {
	var text []string
	for _, k := range list {
		text = append(text, fmt.Sprintf("%s %d", k.Name, k.Count))
	}
	return strings.Join(text, ", ")
}

func TestReportOfRealSnapshots(t *testing.T) {
	const mesh, needless = "federation states 1, virtual addresses 2", "tombstones of keys 1, parts of large writes 1"
	for _, c := range []struct {
		name                  string
		index                 uint64
		made                  string
		taken, left, needless string
	}{
		{"plain", 87, "2026-11-27T12:05:22.737Z", "checks 19, services 14, keys 37, nodes 7, coordinates 6, prepared queries 2, sessions 2, autopilot configuration 1",
			"CA roots 1, CA provider states 1, config entries 1, CA configuration 1, " + mesh, "indexes of tables 40, system metadata 3, " + needless},
		{"acl", 100, "2026-11-27T12:06:15.488Z", "checks 19, services 14, keys 37, ACL tokens 5, nodes 7, ACL policies 4, coordinates 6, prepared queries 2, " +
			"ACL auth methods 1, ACL roles 1, sessions 2, autopilot configuration 1, ACL binding rules 1",
			"CA roots 1, CA provider states 1, config entries 1, CA configuration 1, " + mesh, "indexes of tables 45, system metadata 4, " + needless},
	} {
		keys := 0
		r, err := Inspect(bytes.NewReader(snapshot(t, c.name)), func(string, int) { keys++ })
		if err != nil {
			t.Fatal(err)
		}
		if kinds(r.Taken) != c.taken || kinds(r.Left) != c.left || kinds(r.Needless) != c.needless || len(r.Fields) > 0 || keys != 37 {
			t.Errorf("%s: taken %s\nleft %s\nneedless %s\nfields %v, %d keys", c.name, kinds(r.Taken), kinds(r.Left), kinds(r.Needless), r.Fields, keys)
		}
		if r.Index != c.index || r.LastIndex != c.index || r.Term != 2 || r.Time.Format(time.RFC3339Nano) != c.made || r.Version != "1.21.4" || r.Datacenter != "dc1" {
			t.Errorf("%s: %+v", c.name, r)
		}
		said := strings.Join(r.LeftOut(), "\n")
		if !strings.Contains(said, "config entries: 1 (service-defaults/web)") {
			t.Errorf("%s: %s", c.name, said)
		}
		for _, secret := range []string{"11111111-2222", "0d0d0d0d", "PRIVATE"} {
			if strings.Contains(said, secret) {
				t.Errorf("%s tells secrets: %s", c.name, said)
			}
		}
	}
}

func TestRealSnapshotKeepsValuesFlagsLocksAndIndexes(t *testing.T) {
	rows, meta, report := converted(t, snapshot(t, "plain"))
	if meta.Index != 87 || meta.RaftIndex != 87 || meta.Term != 2 || meta.Datacenter != "dc1" || meta.Version != "Consul 1.21.4" || report.Unlocked != 0 {
		t.Errorf("%+v %+v", meta, report)
	}
	for _, want := range []kv.Entry{
		{Key: "a b/app/a b/cfg/k32", Value: []byte("a{b{"), Flags: 1 << 63, CreateIndex: 50, ModifyIndex: 50},
		{Key: "locks/one", Value: []byte("held"), LockIndex: 1, Session: "b275ee8a-5ade-ec48-079b-bf899a8adbc2", CreateIndex: 79, ModifyIndex: 79},
		{Key: "locks/free", Value: []byte("y"), LockIndex: 1, CreateIndex: 81, ModifyIndex: 82},
	} {
		if got := entry(t, rows, want.Key); !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v, want %+v", *got, want)
		}
	}
}

func TestTheAutopilotConfigurationComesAlong(t *testing.T) {
	find := func(b []byte) (c autopilot.Config) {
		rows, _, r := converted(t, b)
		row := rows["r\x13"]
		if row == nil {
			t.Fatalf("there is none: %+v", r)
		}
		if _, err := c.UnmarshalMsg(row[9:]); err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := autopilot.Default()
	want.CreateIndex, want.ModifyIndex = 4, 4
	if got := find(snapshot(t, "plain")); got != want {
		t.Errorf("of a real snapshot: %+v, want %+v", got, want)
	}
	own := m{"CleanupDeadServers": false, "LastContactThreshold": 3, "MaxTrailingLogs": 4, "MinQuorum": 5, "ServerStabilizationTime": 6,
		"RedundancyZoneTag": "zone", "DisableUpgradeMigration": true, "UpgradeVersionTag": "v", "CreateIndex": 7, "ModifyIndex": 8}
	if got := find(stated(t, typeAutopilot, own)); got != (autopilot.Config{LastContactThreshold: 3, MaxTrailingLogs: 4, MinQuorum: 5, ServerStabilizationTime: 6,
		RedundancyZoneTag: "zone", DisableUpgradeMigration: true, UpgradeVersionTag: "v", CreateIndex: 7, ModifyIndex: 8}) {
		t.Errorf("%+v", got)
	}
	own["LastContactThreshold"] = -1
	if _, _, r := converted(t, stated(t, typeAutopilot, own)); kinds(r.Left) != "broken autopilot configurations 1" || len(r.Taken) > 0 {
		t.Errorf("a broken one: %+v", r)
	}
}

// What is of another namespace, partition or peer is not mixed with the rest.
func TestOfOthersIsLeftOut(t *testing.T) {
	b := stated(t,
		typeKV, m{"Key": "own", "Value": "v", "Namespace": "default", "CreateIndex": 3, "ModifyIndex": 4},
		typeKV, m{"Key": "theirs", "Value": "v", "Namespace": "team"},
		typeSession, m{"ID": "s1", "Node": "n", "Partition": "p"},
		typeRegister, m{"Node": "n", "Address": "a"},
		typeRegister, m{"Node": "n", "Address": "a", "Service": m{"ID": "web", "Service": "web", "Namespace": "team"}},
		typeRegister, m{"Node": "n", "Address": "a", "Check": m{"Node": "n", "CheckID": "c", "Namespace": "team"}},
		typeRegister, m{"Node": "far", "Address": "a", "PeerName": "other"},
		typeCoordinates, []any{m{"Node": "n", "Coord": m{"Vec": []any{0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}}}, m{"Node": "o", "Partition": "p"}},
	)
	_, _, r := converted(t, b)
	if got := kinds(r.Taken); got != "keys 1, coordinates 1, nodes 1" {
		t.Error(got)
	}
	if got := kinds(r.Left); got != "records of other namespaces and partitions 5, records of peers 1" {
		t.Error(got)
	}
}

// Consul has kept coordinates that are no numbers: no list could be shown with one.
func TestBrokenCoordinatesAreLeftOut(t *testing.T) {
	vec := func(first any) m {
		return m{"Vec": []any{first, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, "Error": 1.5, "Height": 1e-5}
	}
	_, _, r := converted(t, stated(t, typeCoordinates, []any{m{"Node": "good", "Coord": vec(0.5)}, m{"Node": "nan", "Coord": vec(math.NaN())},
		m{"Node": "inf", "Coord": vec(math.Inf(-1))}, m{"Node": "far", "Coord": vec(1e9)}, m{"Node": "flat", "Coord": m{"Vec": []any{0.5}}}}))
	if got := kinds(r.Taken); got != "coordinates 1" {
		t.Error(got)
	}
	if got := strings.Join(r.LeftOut(), "; "); got != "broken coordinates: 4 (nan, inf, far, flat)" {
		t.Error(got)
	}
}

// No record is newer than the archive, whatever the header said.
func TestArchiveIsAsNewAsItsNewestRecord(t *testing.T) {
	_, meta, _ := converted(t, stated(t, typeKV, m{"Key": "k", "CreateIndex": 3, "ModifyIndex": 77}, typeKV, m{"Key": "l", "ModifyIndex": 5}))
	if meta.Index != 77 {
		t.Errorf("the index is %d", meta.Index)
	}
}

func TestLockOfASessionThatIsNotThereIsGivenUp(t *testing.T) {
	rows, _, r := converted(t, stated(t,
		typeKV, m{"Key": "k", "Session": "GONE", "LockIndex": 2},
		typeKV, m{"Key": "l", "Session": "ABC", "LockIndex": 2},
		typeSession, m{"ID": "abc", "Node": "n", "Checks": []any{"serfHealth"}}))
	if e := entry(t, rows, "k"); e.Session != "" || e.LockIndex != 2 || e.ModifyIndex != 9 || e.CreateIndex != 9 {
		t.Errorf("%+v", e)
	}
	if e := entry(t, rows, "l"); e.Session != "abc" {
		t.Errorf("%+v", e)
	}
	if r.Unlocked != 1 {
		t.Errorf("%+v", r)
	}
}

// Fields of later versions are told of where they say something, and records of
// unknown types are counted.
func TestWhatIsUnknownIsTold(t *testing.T) {
	r, err := Inspect(bytes.NewReader(stated(t,
		typeKV, m{"Key": "k", "Colour": "red", "Empty": "", "Zero": m{"a": 0, "b": []any{}}, "Deep": m{"a": m{"b": true}}},
		typeKV, m{"Key": "l", "Colour": "blue"},
		200, m{"Name": "x"}, 200, 7, typeConfigEntry, 5)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(r.Fields); got != "keys: Colour 2, keys: Deep 1" {
		t.Error(got)
	}
	if got := strings.Join(r.LeftOut(), "; "); got != "records of the unknown type 200: 2 (x and 1 more); config entries: 1; the field keys: Colour: 2; the field keys: Deep: 1" {
		t.Error(got)
	}
}

// A report goes into logs and answers: what may be a token is not in it.
func TestReportsHaveNoTokens(t *testing.T) {
	r, err := Inspect(bytes.NewReader(stated(t,
		4, m{"ID": "secret1", "Name": "old", "Type": "client"}, 4, m{"ID": "secret2", "Name": ""}, 99, m{"ID": "secret3"},
		17, m{"AccessorID": "open", "SecretID": "secret4"}, 17, m{"SecretID": "secret5"}, 19, m{"ID": "p", "Name": "p", "Rules": `secret6 {`}, 12, m{"ID": "open"})), nil)
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	if err := r.Write(&shown); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.LeftOut(), "; "); strings.Contains(got+shown.String(), "secret") ||
		got != "ACL tokens of versions before 1.4: 2 (old and 1 more); ACL tokens that are not whole: 1; records of the unknown type 99: 1; intentions: 1 (open); "+
			"the field ACL policies: the Rules of p, which are not known here, so that it denies everything: 1" {
		t.Errorf("%s\n%s", got, shown.String())
	}
}

func TestNamesAreBounded(t *testing.T) {
	var records []any
	for i := range 30 {
		records = append(records, 200, m{"Name": fmt.Sprintf("%d%s", i, strings.Repeat("x", 200))})
	}
	r, err := Inspect(bytes.NewReader(stated(t, records...)), nil)
	if err != nil || len(r.Left) != 1 || len(r.Left[0].Names) != maxNames || len(r.Left[0].Names[0]) != maxName || r.Left[0].Others() != 10 {
		t.Fatalf("%+v %v", r, err)
	}
	if got := r.LeftOut()[0]; !strings.HasSuffix(got, " and 10 more)") {
		t.Error(got)
	}
}

// What a snapshot makes remember is bounded by its bytes, however few records they are.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for name, records := range map[string][]any{
		"sessions": {typeSession, m{"ID": long, "Node": "n"}, typeSession, m{"ID": "s", "Node": "n"}},
		"names":    {typeRegister, m{"Node": "n", "Address": "a", "Service": m{"ID": "w", "Service": "web", "Tags": []any{long, "t"}}}},
	} {
		for limit, fits := range map[int]bool{25_000: true, 15_000: false} {
			c := &converter{report: &Report{}, tally: newTally(), rows: func([]storage.Row) error { return nil }, sessions: map[string]string{},
				names: &catalog.Names{}, limit: limit}
			err := stream(bufio.NewReader(bytes.NewReader(unpacked(t, stated(t, records...)))), &c.report.LastIndex, c.record)
			if (err == nil) != fits || err != nil && !errors.Is(err, pack.ErrInvalid) {
				t.Errorf("%s within %d bytes: %v", name, limit, err)
			}
		}
	}
}

func TestMalformedIsRefused(t *testing.T) {
	head := "\x81\xa9LastIndex\x09"
	nested := strings.Repeat("\x91", maxDepth+1)
	wide := m{"Key": "k", "Value": strings.Repeat("x", maxRecord)}
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"no header":             {packed(t, nil), "cut off"},
		"another header":        {packed(t, []byte("\x01")), "LastIndex"},
		"cut off record":        {packed(t, []byte(head+"\x02\xda\xff\xff")), "cut off"},
		"cut off list":          {packed(t, []byte(head+"\x02\xdd\xff\xff\xff\xff")), "cut off"},
		"cut off unknown":       {packed(t, []byte(head+"\xc8\xdb\xff\xff\xff\xff")), "cut off"},
		"no record":             {packed(t, []byte(head+"\x02")), "cut off"},
		"impossible value":      {packed(t, []byte(head+"\x02\xc1")), "0xc1"},
		"deep":                  {packed(t, []byte(head+"\xc8"+nested)), "nests"},
		"a key that is none":    {stated(t, typeKV, 7), "keys"},
		"a name that is none":   {stated(t, typeRegister, m{"Node": 7}), "Node"},
		"a field without name":  {packed(t, []byte(head+"\x02\x81\x01\x01")), "field"},
		"a map that is none":    {stated(t, typeRegister, m{"Node": "n", "NodeMeta": []any{}}), "NodeMeta"},
		"too many elements":     {packed(t, []byte(head+"\x07\x81\xa7Service\x81\xa4Tags\xdd\x00\x01\x00\x01"+strings.Repeat("\xc0", maxElements+1))), "elements"},
		"a record that is long": {stated(t, typeKV, wide), "allowed"},
		"a key that is long":    {stated(t, typeKV, m{"Key": strings.Repeat("k", 70_000)}), "too long"},
		"settings of a proxy":   {stated(t, typeRegister, m{"Node": "n", "Service": m{"Proxy": m{"Config": 7}}}), "Config"},
	} {
		if _, err := Inspect(bytes.NewReader(c.archive), nil); !errors.Is(err, archive.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A record that is left out may be as long as it likes.
func TestLongRecordsThatAreLeftOutAreSkipped(t *testing.T) {
	r, err := Inspect(bytes.NewReader(stated(t, 200, strings.Repeat("x", maxRecord+1), typeKV, m{"Key": "k"})), nil)
	if err != nil || kinds(r.Taken) != "keys 1" || r.Left[0].Bytes < maxRecord {
		t.Errorf("%+v %v", r, err)
	}
}

func TestCutOffOrAlteredIsRefused(t *testing.T) {
	b := snapshot(t, "plain")
	for n := 0; n < len(b); n += 501 {
		if _, err := Inspect(bytes.NewReader(b[:n]), nil); !errors.Is(err, archive.ErrInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	want, err := Inspect(bytes.NewReader(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 10; n < len(b); n += 131 {
		bad := bytes.Clone(b)
		bad[n] ^= 0x10
		if got, err := Inspect(bytes.NewReader(bad), nil); err == nil && !reflect.DeepEqual(got, want) || err != nil && !errors.Is(err, archive.ErrInvalid) {
			t.Errorf("byte %d: %v", n, err)
		}
	}
}

func TestReplaceLeavesTheArchiveInTheFile(t *testing.T) {
	folder := t.TempDir()
	file, err := os.Create(filepath.Join(folder, "upload"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(snapshot(t, "plain")); err != nil {
		t.Fatal(err)
	}
	report, err := Replace(file, folder)
	if err != nil || report.LastIndex != 87 {
		t.Fatalf("%+v %v", report, err)
	}
	if meta, err := archive.Verify(file); err != nil || meta.Index != 87 {
		t.Errorf("%+v %v", meta, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
}

func TestFailingFolderIsNoBrokenSnapshot(t *testing.T) {
	s := &sorter{folder: filepath.Join(t.TempDir(), "none"), limit: 1}
	c := &converter{rows: s.add}
	if _, err := read(bytes.NewReader(snapshot(t, "plain")), c); err == nil || errors.Is(err, archive.ErrInvalid) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestSorterMergesFilesAndMemory(t *testing.T) {
	folder := t.TempDir()
	s := &sorter{folder: folder, limit: 200}
	row := func(key, value string) []storage.Row { return []storage.Row{{Key: []byte(key), Value: []byte(value)}} }
	for i := range 50 {
		if err := s.add(row(fmt.Sprintf("k%02d", i*7%50), "old")); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"k07", "k00", "k49", "k07"} { // again: the last counts
		if err := s.add(row(key, "new")); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.runs) < 5 {
		t.Fatalf("%d files", len(s.runs))
	}
	for range 2 { // as often as one likes
		n := 0
		for r, err := range s.all() {
			want := "old"
			if n == 0 || n == 7 || n == 49 {
				want = "new"
			}
			if err != nil || string(r.Key) != fmt.Sprintf("k%02d", n) || string(r.Value) != want {
				t.Errorf("%d: %s %s %v", n, r.Key, r.Value, err)
			}
			n++
		}
		if n != 50 {
			t.Errorf("%d rows", n)
		}
	}
	for range s.all() {
		break
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
}

func TestReportForPeople(t *testing.T) {
	r, err := Inspect(bytes.NewReader(snapshot(t, "acl")), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.21.4", "2026-11-27 12:06:15 UTC", "Taken over", "Left out", "ACL roles", "service-defaults/web", "Not needed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"Program":"Consul"`) || !strings.Contains(string(text), `"Name":"keys","Count":37`) {
		t.Errorf("%s %v", text, err)
	}
}

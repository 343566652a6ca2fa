package lint

import (
	"strings"
	"testing"
)

func TestTheTreeKeepsTheRules(t *testing.T) {
	found, err := Tree("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// check runs the rules on one file.
func check(t *testing.T, path, text string) []Finding {
	t.Helper()
	found, err := Sources(map[string]string{path: text})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRules(t *testing.T) {
	long := "// Package x is.\npackage x\nfunc f() {\n" + strings.Repeat("_ = 1\n", 68) + "}\n"
	for _, c := range []struct{ name, path, text, want string }{
		{"a function of 70 lines", "op/x.go", long, ""},
		{"a function of 71 lines", "op/x.go", strings.Replace(long, "func f() {", "func f() {\n", 1), "f has 71 lines"},
		{"a long function in a test", "op/x_test.go", strings.Replace(long, "func f() {", "func f() {\n", 1), ""},
		{"a long file", "op/x.go", "// Package x is.\npackage x\n" + strings.Repeat("\n", 599), "more than 600 lines"},
		{"five parameters", "op/x.go", "// Package x is.\npackage x\nfunc f(a, b, c int, d, e string) {}\n", ""},
		{"six parameters", "op/x.go", "// Package x is.\npackage x\nfunc f(a, b, c int, d, e, g string) {}\n", "6 parameters"},
		{"parameters of a foreign interface", "op/x.go", "// Package x is.\npackage x\n// Create implements raft.SnapshotStore.\nfunc (T) Create(a, b, c int, d, e, g string) {}\n", ""},
		{"parameters of nobody's interface", "op/x.go", "// Package x is.\npackage x\n// Create implements it.\nfunc (T) Create(a, b, c int, d, e, g string) {}\n", "6 parameters"},
		{"an import of the ground", "internal/wanem/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/internal/lifecycle\"\n", ""},
		{"a go statement", "op/x.go", "// Package x is.\npackage x\nfunc f() { go f() }\n", "x.go:3: go statement"},
		{"a go statement of the owner", "internal/lifecycle/x.go", "// Package x is.\npackage x\nfunc f() { go f() }\n", ""},
		{"a sleep in a test", "op/x_test.go", "package x\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "time.Sleep in a test"},
		{"a renamed sleep", "op/x_test.go", "package x\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }\n", "time.Sleep in a test"},
		{"another Sleep", "op/x_test.go", "package x\nimport \"time\"\nvar _ time.Time\nfunc f(time T) { time.Sleep(1) }\n", ""},
		{"init", "op/x.go", "// Package x is.\npackage x\nfunc init() {}\n", "init function"},
		{"a method init", "op/x.go", "// Package x is.\npackage x\nfunc (T) init() {}\n", ""},
		{"a clock in apply", "state/kv/x.go", "// Package x is.\npackage x\nimport \"time\"\nfunc apply() { _ = time.Now() }\n", "time.Now in apply"},
		{"a clock in prepare", "state/kv/x.go", "// Package x is.\npackage x\nimport \"time\"\nfunc prepareApply() { _ = time.Now() }\n", ""},
		{"a clock elsewhere", "server/x.go", "// Package x is.\npackage x\nimport \"time\"\nfunc apply() { _ = time.Now() }\n", ""},
		{"a duration in apply", "state/kv/x.go", "// Package x is.\npackage x\nimport \"time\"\nfunc apply() { _ = time.Duration(1) }\n", ""},
		{"randomness in apply", "state/x.go", "// Package x is.\npackage x\nimport \"math/rand/v2\"\nfunc apply() { _ = rand.Int() }\n", "math/rand/v2.Int"},
		{"a random ID in apply", "state/x.go", "// Package x is.\npackage x\nimport \"github.com/google/uuid\"\nfunc apply() { _ = uuid.NewString() }\n", "uuid.NewString"},
		{"strings.Contains on an error", "op/x.go", "// Package x is.\npackage x\nimport \"strings\"\nfunc f(err error) bool { return strings.Contains(err.Error(), \"x\") }\n", "by its text"},
		{"a lower-cased error", "op/x.go", "// Package x is.\npackage x\nimport \"strings\"\nfunc f(err error) bool { return strings.HasPrefix(strings.ToLower(err.Error()), \"x\") }\n", "by its text"},
		{"an error compared", "op/x.go", "// Package x is.\npackage x\nfunc f(err error) bool { return err.Error() == \"x\" }\n", "by its text"},
		{"a switch on an error's text", "op/x.go", "// Package x is.\npackage x\nfunc f(err error) { switch err.Error() { } }\n", "by its text"},
		{"a pattern on an error's text", "op/x.go", "// Package x is.\npackage x\nfunc f(err error) bool { return re.MatchString(err.Error()) }\n", "by its text"},
		{"an error printed", "op/x.go", "// Package x is.\npackage x\nimport \"fmt\"\nfunc f(err error) { fmt.Println(err.Error()) }\n", ""},
		{"a key of a log that each line has", "op/x.go", "// Package x is.\npackage x\nfunc (t T) f() { t.log.Warn(\"x\", \"error\", 1, \"node\", 2) }\n", `"node" is what each line`},
		{"a key with a space", "op/x.go", "// Package x is.\npackage x\nfunc f(log L) { log.With(\"again in\", 1) }\n", `"again in" is no key`},
		{"a component of a line", "op/x.go", "// Package x is.\npackage x\nfunc f(log L) { log.Info(\"x\", \"component\", 1) }\n", `"component" is what each line`},
		{"a component of a logger", "op/x.go", "// Package x is.\npackage x\nfunc f(c C) { c.Log.With(\"component\", \"x\") }\n", ""},
		{"keys of a log", "op/x.go", "// Package x is.\npackage x\nfunc f(log L) { log.Info(\"node\", \"server\", \"node\") }\n", ""},
		{"unfinished work", "op/x.go", "// Package x is.\npackage x\n// TO" + "DO: more\n", "in a comment"},
		{"a word that only looks like it", "op/x.go", "// Package x is.\npackage x\n// TO" + "DOs FIX" + "MEUP\n", ""},
		{"a package without a comment", "op/x.go", "package x\n", "no comment"},
		{"an empty name", "op/x.go", "// Package x is.\npackage x\ntype PoolManager struct{}\n", "says nothing"},
		{"an empty package name", "op/x.go", "// Package util is.\npackage util\n", "says nothing"},
		{"a global lock", "op/x.go", "// Package x is.\npackage x\nimport \"sync\"\nvar mu sync.Mutex\n", "made to change"},
		{"a global map to fill", "op/x.go", "// Package x is.\npackage x\nvar m = map[string]int{}\n", "made to change"},
		{"a table", "op/x.go", "// Package x is.\npackage x\nvar m = map[string]int{\"a\": 1}\n", ""},
		{"a counter", "op/x.go", "// Package x is.\npackage x\nvar n int\nfunc f() { n++ }\n", "assigned to"},
		{"a field of a global", "op/x.go", "// Package x is.\npackage x\nvar n T\nfunc f() { n.a[1] = 2 }\n", "assigned to"},
		{"a local that hides a global", "op/x.go", "// Package x is.\npackage x\nvar n = 1\nfunc f() { n := 2; n++ }\n", ""},
		{"a field of the same name", "op/x.go", "// Package x is.\npackage x\nvar n = 1\nfunc (t *T) f() { t.n = 2 }\n", ""},
		{"an unknown package", "elsewhere/x.go", "// Package x is.\npackage x\n", "no place in the table"},
		{"an import down", "state/kv/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/op\"\n", ""},
		{"an import up", "op/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/state/kv\"\n", "imports go down only"},
		{"an import sideways", "state/kv/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/state/query\"\n", "imports go down only"},
		{"an import up by a test", "op/x_test.go", "package x\nimport _ \"" + Module + "/internal/testcluster\"\n", ""},
		{"what is for tests", "transport/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/transport/transporttest\"\n", "which is for tests"},
		{"what is for tests, by a test", "transport/x_test.go", "package x\nimport _ \"" + Module + "/transport/transporttest\"\n", ""},
		{"what is for tests, by what is too", "transport/xtest/x.go", "// Package xtest is.\npackage xtest\nimport _ \"" + Module + "/transport/transporttest\"\n", ""},
		{"an import within a room", "transport/inner/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/transport\"\n", ""},
		{"a forbidden room", "httpapi/x.go", "// Package x is.\npackage x\nimport _ \"" + Module + "/federation\"\n", "httpapi must not reach federation: httpapi → federation"},
	} {
		found := check(t, c.path, c.text)
		if (c.want == "") != (len(found) == 0) || (c.want != "" && !strings.Contains(found[0].String(), c.want)) {
			t.Errorf("%s: found %v, want %q", c.name, found, c.want)
		}
	}
}

func TestWallsHoldThroughOtherPackages(t *testing.T) {
	found, err := Sources(map[string]string{
		"dns/x.go":     "// Package x is.\npackage x\nimport _ \"" + Module + "/op/view\"\n",
		"op/view/x.go": "// Package x is.\npackage x\nimport _ \"" + Module + "/transport\"\n",
	})
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Text, "dns → op/view → transport") {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestPackageBudgetCountsAllFiles(t *testing.T) {
	sources := map[string]string{"op/0.go": "// Package x is.\npackage x\n"}
	for i := range 7 {
		sources["op/"+string(rune('a'+i))+".go"] = "package x\n" + strings.Repeat("\n", 590)
	}
	found, err := Sources(sources)
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Text, "has 4139 lines") {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestAssignmentInAnotherFileIsFound(t *testing.T) {
	found, err := Sources(map[string]string{
		"op/a.go": "// Package x is.\npackage x\nvar n int\n",
		"op/b.go": "package x\nfunc f() { n = 1 }\n",
	})
	if err != nil || len(found) != 1 || found[0].File != "op/b.go" {
		t.Errorf("found %v, %v", found, err)
	}
}

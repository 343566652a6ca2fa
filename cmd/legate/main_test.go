package main

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "catalog nope", Code: 1, Err: `unknown subcommand "nope"`},
		{Args: "acl token craete", Code: 1, Err: `legate acl token: unknown subcommand "craete", did you mean "create"?`},
		{Args: "acl tokn", Code: 1, Err: `unknown subcommand "tokn", did you mean "token"?`},
		{Args: "acl policy create x", Code: 1, Err: "too many arguments"},
		{Args: "kv gte", Code: 1, Err: `did you mean "get"?`},
		{Args: "memebrs", Code: 1, Err: `unknown command "memebrs", did you mean "members"?`},
	})
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, row := range commands() {
		if row.New == nil { // a group
			continue
		}
		r := commandtest.Run(t, commands(), nil, "", append(strings.Fields(row.Name), "-h")...)
		if r.Code != 0 || !strings.Contains(r.Out, "Usage: legate "+row.Name) || !strings.Contains(r.Out, "Examples:") || !strings.Contains(r.Out, "legate "+row.Name) {
			t.Errorf("%s -h: code %d\n%s", row.Name, r.Code, r.Out)
		}
		if remote := strings.Contains(r.Out, "-http-addr"); remote != (row.Access != command.Local) {
			t.Errorf("%s: -http-addr in the help: %t", row.Name, remote)
		}
	}
	if r := commandtest.Run(t, commands(), nil, "", "-h"); r.Code != 0 || !strings.Contains(r.Out, "kv") || !strings.Contains(r.Out, "agent -dev") {
		t.Errorf("legate -h: %d %s", r.Code, r.Out)
	}
	if r := commandtest.Run(t, commands(), nil, "", "kv"); r.Code != 1 || !strings.Contains(r.Err, "delete") {
		t.Errorf("legate kv: %d %s", r.Code, r.Err)
	}
	if r := commandtest.Run(t, commands(), nil, "", "kv", "-h"); r.Code != 0 || !strings.Contains(r.Out, "\n  legate kv put app/config 5\n") || !strings.Contains(r.Out, "Delete a key") {
		t.Errorf("legate kv -h: %d %s", r.Code, r.Out)
	}
	if r := commandtest.Run(t, commands(), nil, "", "acl", "-h"); r.Code != 0 || strings.Count(r.Out, "legate acl token ") != 1 || !strings.Contains(r.Out, "Manage binding rules") {
		t.Errorf("legate acl -h: %d %s", r.Code, r.Out)
	}
	for _, name := range []string{"kv", "lab"} { // a group, and a command that is one, too
		if r := commandtest.Run(t, commands(), nil, "", name, "strt"); r.Code != 1 || !strings.Contains(r.Err, `unknown subcommand "strt"`) {
			t.Errorf("legate %s strt: %d %s", name, r.Code, r.Err)
		}
	}
	if r := commandtest.Run(t, commands(), nil, ""); r.Code != 1 || !strings.Contains(r.Err, "Usage: legate") {
		t.Errorf("legate: %d %s", r.Code, r.Err)
	}
}

// The manual has a page for each command, which says what its help does, in a language
// that the formatter takes without a word.
func TestTheManualHasEachCommand(t *testing.T) {
	dir := t.TempDir()
	if r := commandtest.Run(t, commands(), nil, "", "man", dir); r.Code != 0 {
		t.Fatal(r.Err)
	}
	page := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	all := page("legate")
	for _, row := range commands() {
		name := "legate-" + strings.ReplaceAll(row.Name, " ", "-")
		text := page(name)
		if !strings.Contains(all, strings.ReplaceAll(name, "-", `\-`)+"(1)") {
			t.Errorf("the page of the program does not name %s", name)
		}
		if row.New == nil {
			continue
		}
		own := flag.NewFlagSet("", flag.ContinueOnError)
		row.New().Flags(own)
		own.VisitAll(func(f *flag.Flag) {
			if !strings.Contains(text, `.B "\-`+strings.ReplaceAll(f.Name, "-", `\-`)) {
				t.Errorf("%s lacks -%s", name, f.Name)
			}
		})
		if !strings.Contains(text, ".SH \"EXAMPLES\"") {
			t.Errorf("%s has no example", name)
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("takes the program groff")
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("groff", append([]string{"-man", "-ww", "-z", "-Tutf8"}, pages...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNoAgent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	r := commandtest.Run(t, commands(), nil, "", "members", "-http-addr="+addr)
	if r.Code != 1 || !strings.Contains(r.Err, "no agent answers at "+addr) || !strings.Contains(r.Err, "legate agent -dev") {
		t.Errorf("code %d: %s", r.Code, r.Err)
	}
	r = commandtest.Run(t, commands(), nil, "", "members", "-http-addr=unix:///does/not/exist")
	if r.Code != 1 || !strings.Contains(r.Err, "Is one running?") {
		t.Errorf("code %d: %s", r.Code, r.Err)
	}
}

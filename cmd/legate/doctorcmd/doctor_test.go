package doctorcmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command { return []command.Command{Doctor()} }

// run runs the command and returns its findings by check.
func run(t *testing.T, answers commandtest.Answers, code int, args ...string) map[string]Finding {
	t.Helper()
	r := commandtest.Run(t, commands(), answers, "", append([]string{"doctor", "-format=json"}, args...)...)
	if r.Code != code {
		t.Errorf("it ends with %d, want %d: %s%s", r.Code, code, r.Out, r.Err)
	}
	var list []Finding
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil {
		t.Fatalf("%v: %s", err, r.Out)
	}
	out := map[string]Finding{}
	for _, f := range list {
		out[f.Check] = f
	}
	return out
}

// Who may ask nothing hears which right each check lacks.
func TestWithoutRightsChecksAreSkipped(t *testing.T) {
	answers := commandtest.Answers{"GET /v1/agent/ready": `{"Status":"ready"}`}
	for _, path := range []string{"agent/self", "agent/metrics", "operator/autopilot/state", "federation/status"} {
		answers["GET /v1/"+path] = "403!Permission denied"
	}
	for _, path := range []string{"agent/members", "catalog/nodes"} {
		answers["GET /v1/"+path] = "[]"
	}
	answers["GET /v1/catalog/services"] = "{}"
	r := commandtest.Run(t, commands(), answers, "", "doctor")
	for _, want := range []string{"0 problems", "the token lacks operator:read (server-health, failure-tolerance", "the token lacks agent:read"} {
		if !strings.Contains(strings.Join(strings.Fields(r.Out), " "), want) {
			t.Errorf("it lacks %q:\n%s", want, r.Out)
		}
	}
}

func TestAnAgentThatAnswersNonsenseIsNoneThatIsUnderstood(t *testing.T) {
	found := run(t, commandtest.Answers{"GET /v1/agent/ready": "<html>", "GET /v1/agent/self": "{", "GET /v1/agent/metrics": "\x00 {}} 1\nx{ 2", "GET /v1/agent/members": `{"a":1}`}, 2)
	for check, want := range map[string]string{"ready": "no agent", "scripts": "not understood", "failed-members": "not understood", "node-names": "does not know"} {
		if f := found[check]; f.Result != isSkipped || !strings.Contains(f.Found, want) {
			t.Errorf("%+v, want %q", f, want)
		}
	}
}

// Without an agent it is looked whether one could start.
func TestWithoutAnAgentTheMachineIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "legate.json")
	text := fmt.Sprintf(`{"data_dir":%q,"bind_addr":"127.0.0.1","client_addr":"unix://%s/x.sock","ports":{"dns":-1,"serf_lan":18301},"retry_join":["127.0.0.1"]}`, filepath.Join(dir, "data"), dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found := run(t, nil, 1, "-http-addr=127.0.0.1:1", "-config-file="+file)
	if f := found["agent"]; f.Result != isProblem || !strings.Contains(f.Found, "refused") {
		t.Errorf("%+v", f)
	}
	if f := found["failure-tolerance"]; f.Result != isSkipped || f.Found != "no agent answers" {
		t.Errorf("%+v", f)
	}
	if f := found["configuration"]; f.Result != isFine && f.Result != isWarning {
		t.Errorf("%+v", f)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*doctor*")); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	if err := os.WriteFile(file, []byte(`{"data_dirr":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	found = run(t, nil, 1, "-http-addr=127.0.0.1:1", "-config-file="+file)
	if f := found["configuration"]; f.Result != isProblem || !strings.Contains(f.Found, "data_dirr") {
		t.Errorf("%+v", f)
	}
	if f := found["ports"]; f.Result != isSkipped || !strings.Contains(f.Found, "faults") {
		t.Errorf("%+v", f)
	}
}

func TestWrongUsage(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "doctor -format=yaml", Code: 1, Err: `-format is "yaml": want pretty or json`},
		{Args: "doctor -token-file=/nowhere", Code: 1, Err: "read the token"},
		{Args: "doctor more", Code: 1, Err: "too many arguments"},
	})
}

// What people read has problems first, and lines that fit.
func TestTheReport(t *testing.T) {
	found := []Finding{
		warning("A %s", strings.Repeat("word ", 50)).do("Mend it."),
		fine("All is well"),
		skipped("the token lacks x"),
		problem("It is \x1b[31mbroken.").of("s1").do("Go there."),
	}
	for i := range found {
		found[i].Check = fmt.Sprint("check-", i)
	}
	var b strings.Builder
	if err := (report{wide: 60}).write(&b, found); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if at := strings.Index(text, "Problem: check-3, s1"); at != 0 {
		t.Errorf("the problem is not the first:\n%s", text)
	}
	for _, line := range strings.Split(text, "\n") {
		if utf8.RuneCountInString(line) > 60 {
			t.Errorf("a line is too long: %q", line)
		}
	}
	for want, there := range map[string]bool{"1 problem, 1 warning, 1 check found nothing": true, "Skipped: the token lacks x (check-2).": true, "All is well": false, "\x1b": false, "Do: Go there.": true} {
		if strings.Contains(text, want) != there {
			t.Errorf("%q there: %v\n%s", want, !there, text)
		}
	}
	b.Reset()
	if err := (report{all: true, wide: 60}).write(&b, found); err != nil || !strings.Contains(b.String(), "All is well") {
		t.Errorf("%v: %s", err, b.String())
	}
}

package runcmd

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// listened is what a run prints of keys that come at once, in the order of the
// store.
func listened(terminal bool, keysAndValues ...string) string {
	var out strings.Builder
	x := &remoteRun{remoteExec: remoteExec{Out: &out, Terminal: terminal}, base: "p/s/", nodes: map[string]*agent{}, seen: map[string]bool{}}
	var pairs api.KVPairs
	for i := 0; i < len(keysAndValues); i += 2 {
		pairs = append(pairs, &api.KVPair{Key: "p/s/" + keysAndValues[i], Value: []byte(keysAndValues[i+1])})
	}
	x.news(pairs)
	return out.String()
}

func TestTheEndIsToldAfterTheOutput(t *testing.T) {
	got := listened(false, "job", "{}", "n1/ack", "", "n1/exit", "0", "n1/out/00000", "one\ntw", "n1/out/00001", "o", "n2/out/00000", "x\n")
	want := "    n1: one\n    n2: x\n    n1: two\n==> n1: finished with exit code 0\n"
	if got != want {
		t.Errorf("prints\n%s\nwant\n%s", got, want)
	}
}

func TestATerminalIsSentNoControlCharacters(t *testing.T) {
	keys := []string{"n\x1b[2J/exit", "\x1b[31m", "n\x1b[2J/out/00000", "a\tb \x1b]0;title\a \u009b31m \xff\u202e ü\r\n"}
	got := listened(true, keys...)
	want := `    n\x1b[2J: a` + "\t" + `b \x1b]0;title\a \u009b31m ` + "\ufffd" + `\u202e ü\r` + "\n" + `==> n\x1b[2J: finished with exit code \x1b[31m` + "\n"
	if got != want {
		t.Errorf("prints\n%q\nwant\n%q", got, want)
	}
	if got := listened(false, "n\x1b/out/00000", "\x1b[31mred\n"); got != "    n\\x1b: \x1b[31mred\n" {
		t.Errorf("into a file %q", got)
	}
}

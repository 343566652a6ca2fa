//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// readPage returns files with the configurations that a section of docs/reach.md has, with keys in
// the places of those that it leaves out.
func readPage(t testing.TB, section, key, wanKey string) []string {
	t.Helper()
	text := sectionOf(t, section)
	var files []string
	for i, block := range regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(text, -1) {
		conf := regexp.MustCompile(`(?m)^encrypt( *)= "…"`).ReplaceAllLiteralString(block[1], fmt.Sprintf("encrypt = %q", key))
		conf = regexp.MustCompile(`(?m)^encrypt_wan( *)= "…"`).ReplaceAllLiteralString(conf, fmt.Sprintf("encrypt_wan = %q", wanKey))
		file := filepath.Join(t.TempDir(), fmt.Sprintf("page%d.hcl", i))
		must(t, "write a configuration", os.WriteFile(file, []byte(conf), 0o600))
		files = append(files, file)
	}
	if len(files) < 2 {
		t.Fatalf("section %q has %d configurations", section, len(files))
	}
	return files
}

// sectionOf is the text of a section of docs/reach.md.
func sectionOf(t testing.TB, section string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/reach.md")
	must(t, "read the page", err)
	_, text, ok := strings.Cut(string(b), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("docs/reach.md has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// Who pastes the commands of the page, which build the network, write the configurations and start the agents, has
// both datacenters answer each other; and what the section shows of configurations before is what runs there.
func TestTheCommandsOfThePage(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("building networks takes root")
	}
	shown, pasted, ok := strings.Cut(sectionOf(t, "An office behind NAT"), "\n### Try it on one machine\n")
	if !ok {
		t.Fatal("the section has nothing to try")
	}
	blocks := func(text, language string) string {
		var all strings.Builder
		for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
			all.WriteString(block[1])
		}
		return all.String()
	}
	script := blocks(pasted, "bash")
	plain := func(line string) string {
		line, _, _ = strings.Cut(line, " # ")
		name, value, _ := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); strings.HasPrefix(name, "encrypt") {
			return name // whatever the key is
		}
		return name + "=" + strings.TrimSpace(value)
	}
	runs := map[string]bool{}
	for line := range strings.Lines(script) {
		runs[plain(line)] = true
	}
	for line := range strings.Lines(blocks(shown, "hcl")) {
		if !runs[plain(line)] {
			t.Errorf("the section shows %q, which the commands do not have", line)
		}
	}

	// In namespaces of their own: the names of networks are seen nowhere else, and the agents end with the shell.
	const before = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && mount --make-shared /run/netns && "
	const after = "\nls -l /proc/[0-9]*/exe 2>/dev/null | grep /legate && exit 1; exit 0\n" // all have ended
	script = strings.ReplaceAll(script, "/tmp/legate-nat", filepath.Join(t.TempDir(), "try"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", before+script+after)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(os.Getenv(proctest.BinaryVar))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	must(t, "run the commands: "+string(out), err)
	for _, want := range []string{
		`(?m)^office +up +by gateways `,
		`(?m)^office is reached through its gateways: 198\.51\.100\.11:8302, 198\.51\.100\.12:8302$`,
		`(?m)^from the office\nfrom dc1\n10\.2\.0\.3\n198\.51\.100\.11$`,
		`(?m)^b\.office .*seen=198\.51\.100\.2:8302.*via=198\.51\.100\.11:8302,198\.51\.100\.12:8302`,
		`(?m)^Estimated b\.office <-> a\.dc1 rtt: `,
		`(?m)^0 problems, `,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the commands print nothing like %s:\n%s", want, out)
		}
	}
	calm(t, "what the commands print", string(out))
}

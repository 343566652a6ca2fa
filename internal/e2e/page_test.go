//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readPage returns files with the configurations that a section of docs/reach.md has, with keys in
// the places of those that it leaves out.
func readPage(t testing.TB, section, key, wanKey string) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/reach.md")
	must(t, "read the page", err)
	_, text, ok := strings.Cut(string(b), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("docs/reach.md has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
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

package lint

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table of docs/testing.md has every fuzz target of the tree, and no other.
func TestTheTableOfFuzzTargetsIsWhole(t *testing.T) {
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	there := map[string]bool{}
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel("../..", filepath.Dir(p))
		for _, m := range target.FindAllStringSubmatch(string(text), -1) {
			there[filepath.ToSlash(pkg)+" "+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\|.*\\| `([\\w/]+)` (Fuzz[\\w, ]+) \\|$")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		for name := range strings.SplitSeq(m[2], ", ") {
			said[m[1]+" "+name] = true
		}
	}
	if len(there) == 0 {
		t.Fatal("no fuzz target was found")
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !said[name] {
			t.Errorf("docs/testing.md says nothing of the fuzz target %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if !there[name] {
			t.Errorf("docs/testing.md has the fuzz target %s, which is not there", name)
		}
	}
}

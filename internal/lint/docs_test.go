package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxWalk is how many files may be needed to understand one thing.
const maxWalk = 8

var (
	quotedFile = regexp.MustCompile("`([\\w/.-]+\\.(?:go|md))`")
	link       = regexp.MustCompile(`\]\(([\w/.-]+)(?:#[\w-]+)?\)`)
)

// pages are the texts for people, by their path below the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(p) != ".md":
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("../..", p)
		all[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// there reports whether a path below one of the folders exists.
func there(path string, folders ...string) bool {
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join("../..", folder, path)); err == nil {
			return true
		}
	}
	return false
}

// Texts name files from the root, a package's DESIGN.md also those beside it.
func TestPagesNameFilesThatAreThere(t *testing.T) {
	seen := 0
	for page, text := range pages(t) {
		for _, m := range quotedFile.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "/") && filepath.Base(page) != "DESIGN.md" {
				continue // the name of many files
			}
			if seen++; !there(m[1], "", filepath.Dir(page)) {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if seen++; !there(m[1], filepath.Dir(page)) {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d names of files were found", seen)
	}
}

func TestEachWalkIsShort(t *testing.T) {
	_, walks, found := strings.Cut(pages(t)["docs/ARCHITECTURE.md"], "## Where to begin reading")
	walks, _, ended := strings.Cut(walks, "\n## ")
	paragraphs := strings.Split(walks, "\n\n**")[1:]
	if !found || !ended || len(paragraphs) < 6 {
		t.Fatalf("ARCHITECTURE.md has %d walks, want 6", len(paragraphs))
	}
	for _, p := range paragraphs {
		name, _, _ := strings.Cut(p, "**")
		if n := len(quotedFile.FindAllString(p, -1)); n < 3 || n > maxWalk {
			t.Errorf("%s takes %d files, want 3 to %d", name, n, maxWalk)
		}
	}
}

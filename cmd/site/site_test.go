package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// made is the site of this source tree.
func made(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	if n, err := write("../..", to); err != nil || n < 30 {
		t.Fatalf("%d pages, %v", n, err)
	}
	return to
}

// document is what a page links to, shows and can be linked to by.
type document struct {
	links   []string
	anchors map[string]bool
}

func parse(t *testing.T, file string) document {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	d := document{anchors: map[string]bool{}}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			switch a.Key {
			case "href", "src":
				d.links = append(d.links, a.Val)
			case "id":
				d.anchors[a.Val] = true
			}
		}
	}
	return d
}

// Every link of every page leads to a file of the site, and to a section of it.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	to := made(t)
	pages := map[string]document{}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".html") {
			pages[path] = parse(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for path, d := range pages {
		for _, link := range d.links {
			u, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if u.Scheme != "" {
				if u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "mailto" || strings.HasSuffix(link, ".js") || strings.HasSuffix(link, ".css") {
					t.Errorf("%s takes %s", path, link)
				}
				continue
			}
			target := path
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(path), u.Path)
			}
			if info, err := os.Stat(target); err != nil || info.IsDir() {
				t.Errorf("%s: nothing is at %s", path, link)
			}
			if u.Fragment != "" && !pages[target].anchors[u.Fragment] {
				t.Errorf("%s: no section is at %s", path, link)
			}
			checked++
		}
	}
	if checked < 1000 {
		t.Errorf("only %d links", checked)
	}
}

// The search knows all sections, and leads to them.
func TestTheSearchKnowsAllSections(t *testing.T) {
	to := made(t)
	b, err := os.ReadFile(filepath.Join(to, "search.js"))
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(string(b), "const sections = "), ";\n")
	var sections []entry
	if err := json.Unmarshal([]byte(text), &sections); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range sections {
		file, anchor, _ := strings.Cut(s.URL, "#")
		if s.Title == "" || s.Page == "" || anchor == "" {
			t.Errorf("%+v", s)
		}
		if _, err := os.Stat(filepath.Join(to, file)); err != nil {
			t.Error(err)
		}
		found = found || strings.Contains(s.URL, "docs/config.html#") && strings.Contains(s.Content, "pid_file")
	}
	if len(sections) < 200 || !found {
		t.Errorf("%d sections, a configuration key is found: %v", len(sections), found)
	}
}

func TestLinksThatLeadNowhereAreFaults(t *testing.T) {
	from := t.TempDir()
	put := func(name, text string) {
		if err := save(filepath.Join(from, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"} {
		put(name, "# "+name+"\n\n## A part, of it\n")
	}
	for link, fault := range map[string]string{
		"CHANGELOG.md": "", "CHANGELOG.md#a-part-of-it": "", "#here": "", "https://example.com/x": "", "docs": "",
		"docs/none.md": "nothing is at docs/none.md", "CHANGELOG.md#none": `no section "none"`, "#none": `no section "none"`, "../x": "nothing is at ../x",
	} {
		put("docs/a.md", "# A\n")
		put("README.md", "# Top\n\n## Here\n\n[link]("+link+")\n")
		_, err := write(from, t.TempDir())
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), "README.md: ") || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: %v", link, err)
		}
	}
}

// The search finds sections by words that stand apart, those with them in the title
// first, and nothing that is not there.
func TestTheSearchFinds(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("takes the program node")
	}
	b, err := os.ReadFile(filepath.Join(made(t), "search.js"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "-")
	cmd.Stdin = strings.NewReader(string(b) + `
const first = (text) => find(sections, text).map(({section}) => section.u);
console.log(JSON.stringify([first("Service MANAGER")[0], first("watchdog_usec")[0], first("nosuchwordanywhere").length, first("  ").length, find(sections, "a").length]));`)
	out, err := cmd.CombinedOutput()
	if want := `["docs/install.html#the-service-manager","docs/install.html#the-service-manager",0,0,30]`; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("found %s, want %s (%v)", out, want, err)
	}
}

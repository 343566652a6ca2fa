package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed assets
var assets embed.FS

// group is a part of the navigation.
type group struct {
	Title string
	Pages []*page
}

// site is all pages by their sources.
type site struct {
	from   string
	groups []group
	pages  map[string]*page
	files  map[string]bool // that pages show or link to, and that are copied
}

// write makes the site of a source tree and returns how many pages it has.
func write(from, to string) (int, error) {
	s := &site{from: from, pages: map[string]*page{}, files: map[string]bool{}}
	design, err := fs.Glob(os.DirFS(from), "docs/design/*.md")
	if err != nil {
		return 0, err
	}
	docs, err := fs.Glob(os.DirFS(from), "docs/*.md")
	if err != nil {
		return 0, err
	}
	var faults []error
	for _, g := range []struct {
		title   string
		sources []string
	}{
		{"Legate", []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}}, {"Using it", docs}, {"How it is made", design},
	} {
		out := group{Title: g.title}
		for _, source := range g.sources {
			p, err := s.read(source)
			faults = append(faults, err)
			out.Pages = append(out.Pages, p)
			s.pages[source] = p
		}
		s.groups = append(s.groups, out)
	}
	if err := errors.Join(faults...); err != nil {
		return 0, err
	}
	for _, source := range s.sources() {
		faults = append(faults, s.pages[source].resolve(s))
	}
	if err := errors.Join(faults...); err != nil {
		return 0, err
	}
	return len(s.pages), s.save(to)
}

func (s *site) sources() (all []string) {
	for _, g := range s.groups {
		for _, p := range g.Pages {
			all = append(all, p.source)
		}
	}
	return all
}

// save writes all files.
func (s *site) save(to string) error {
	layout, err := template.ParseFS(assets, "assets/page.html")
	if err != nil {
		return fmt.Errorf("read the layout of pages: %w", err)
	}
	var index []entry
	for _, source := range s.sources() {
		p := s.pages[source]
		body, err := p.render()
		if err != nil {
			return err
		}
		var out bytes.Buffer
		safe := template.HTML(body) //nolint:gosec // pages of this source tree, rendered without raw HTML
		if err := layout.Execute(&out, map[string]any{"Title": p.Title, "Body": safe, "Groups": s.groups, "Page": p, "Up": p.up()}); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		if err := save(filepath.Join(to, p.URL), out.Bytes()); err != nil {
			return err
		}
		index = append(index, p.entries()...)
	}
	for file := range s.files {
		b, err := os.ReadFile(filepath.Join(s.from, file))
		if err == nil {
			err = save(filepath.Join(to, file), b)
		}
		if err != nil {
			return err
		}
	}
	found, err := json.Marshal(index)
	if err != nil {
		return err
	}
	script, err := assets.ReadFile("assets/search.js")
	if err != nil {
		return err
	}
	style, err := assets.ReadFile("assets/style.css")
	if err != nil {
		return err
	}
	return errors.Join(save(filepath.Join(to, "style.css"), style), save(filepath.Join(to, "search.js"), slices.Concat([]byte("const sections = "), found, []byte(";\n"), script)))
}

func save(file string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// urlOf is where the page of a source stands.
func urlOf(source string) string {
	if source == "README.md" {
		return "index.html"
	}
	return strings.TrimSuffix(source, ".md") + ".html"
}

// relative is the way from a page to a file of the site.
func relative(page, file string) string {
	up := strings.Repeat("../", strings.Count(page, "/"))
	return up + path.Clean(file)
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// page is one page, read.
type page struct {
	Title, URL string
	source     string
	text       []byte
	tree       ast.Node
	anchors    map[string]bool
}

// entry is a section as the search knows it.
type entry struct {
	Page    string `json:"p"`
	Title   string `json:"t"`
	URL     string `json:"u"`
	Content string `json:"c"`
}

func language() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
}

// read parses a page.
func (s *site) read(source string) (*page, error) {
	b, err := os.ReadFile(filepath.Join(s.from, source))
	if err != nil {
		return nil, err
	}
	p := &page{source: source, URL: urlOf(source), text: b, anchors: map[string]bool{}}
	p.tree = language().Parser().Parse(text.NewReader(b), parser.WithContext(parser.NewContext(parser.WithIDs(&ids{taken: p.anchors}))))
	err = ast.Walk(p.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering && h.Level == 1 && p.Title == "" {
			p.Title = plain(h, b)
		}
		return ast.WalkContinue, nil
	})
	if p.Title == "" {
		err = errors.Join(err, fmt.Errorf("%s: it has no title", source))
	}
	return p, err
}

// ids names headings as those who read the source where it is kept see them.
type ids struct{ taken map[string]bool }

var _ parser.IDs = (*ids)(nil)

// Generate implements parser.IDs.
func (i *ids) Generate(value []byte, _ ast.NodeKind) []byte {
	name := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, string(value))
	one := name
	for n := 1; i.taken[one]; n++ {
		one = fmt.Sprintf("%s-%d", name, n)
	}
	i.taken[one] = true
	return []byte(one)
}

// Put implements parser.IDs.
func (i *ids) Put(value []byte) { i.taken[string(value)] = true }

// resolve has links lead to pages of the site, and says which lead nowhere.
func (p *page) resolve(s *site) error {
	var faults []error
	var nowhere []*ast.Link
	err := ast.Walk(p.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			to, ok, err := p.target(s, string(n.Destination))
			faults = append(faults, err)
			if !ok {
				nowhere = append(nowhere, n)
			}
			n.Destination = []byte(to)
		case *ast.Image:
			to, _, err := p.target(s, string(n.Destination))
			faults = append(faults, err)
			n.Destination = []byte(to)
		}
		return ast.WalkContinue, nil
	})
	for _, link := range nowhere { // folders of the source: their names say enough
		for child := link.FirstChild(); child != nil; child = link.FirstChild() {
			link.Parent().InsertBefore(link.Parent(), link, child)
		}
		link.Parent().RemoveChild(link.Parent(), link)
	}
	return errors.Join(append(faults, err)...)
}

// target is where a link leads in the site; ok is false for a folder of the source,
// which the site has no page for.
func (p *page) target(s *site, to string) (url string, ok bool, err error) {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return to, true, nil
	}
	file, anchor, hasAnchor := strings.Cut(to, "#")
	at := p.source
	if file != "" {
		at = path.Join(path.Dir(p.source), file)
	}
	other := s.pages[at]
	if other == nil {
		info, err := os.Stat(filepath.Join(s.from, at))
		switch {
		case err != nil || strings.HasPrefix(at, ".."):
			return "", true, fmt.Errorf("%s: nothing is at %s", p.source, to)
		case info.IsDir() || strings.HasSuffix(at, ".md"):
			return "", false, nil
		}
		s.files[at] = true
		return relative(p.URL, at), true, nil
	}
	if hasAnchor && !other.anchors[anchor] {
		return "", true, fmt.Errorf("%s: %s has no section %q", p.source, at, anchor)
	}
	if hasAnchor {
		anchor = "#" + anchor
	}
	if other == p && hasAnchor {
		return anchor, true, nil
	}
	return relative(p.URL, other.URL) + anchor, true, nil
}

// up is the way to the top of the site.
func (p *page) up() string { return strings.Repeat("../", strings.Count(p.URL, "/")) }

// Link is the way from this page to another one.
func (p *page) Link(to *page) string { return relative(p.URL, to.URL) }

func (p *page) render() ([]byte, error) {
	var out bytes.Buffer
	if err := language().Renderer().Render(&out, p.text, p.tree); err != nil {
		return nil, fmt.Errorf("%s: %w", p.source, err)
	}
	return out.Bytes(), nil
}

// entries are the page's sections, each with all that is said in it.
func (p *page) entries() []entry {
	var all []entry
	for n := p.tree.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok {
			id, _ := h.AttributeString("id")
			name, _ := id.([]byte)
			all = append(all, entry{Page: p.Title, Title: plain(h, p.text), URL: p.URL + "#" + string(name)})
			continue
		}
		if len(all) == 0 {
			all = append(all, entry{Page: p.Title, Title: p.Title, URL: p.URL})
		}
		last := &all[len(all)-1]
		last.Content = strings.TrimSpace(last.Content + " " + plain(n, p.text))
	}
	return all
}

// plain is the text of a part of a page.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the function returns no error
		if !entering {
			if n.Type() == ast.TypeBlock {
				b.WriteByte(' ')
			}
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Segment.Value(source))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.CodeBlock:
			lines(&b, n.Lines(), source)
		case *ast.FencedCodeBlock:
			lines(&b, n.Lines(), source)
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(strings.Fields(b.String()), " ")
}

func lines(b *strings.Builder, of *text.Segments, source []byte) {
	for i := range of.Len() {
		s := of.At(i)
		b.Write(s.Value(source))
	}
}

// Package web is the web interface: a page that browsers load from an agent and that asks
// the HTTP API for everything it shows.
//
// It serves files, knows nothing of the datacenter but its name, and needs no right: what
// the page shows is what the API lets its reader's token see. Files are served whole, from
// the program or from a folder; nothing that a request says becomes part of an answer.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

//go:embed assets
var embedded embed.FS

// Policy is the Content-Security-Policy of all answers: the page runs and loads what this
// agent serves, talks to it alone, and is shown in no other page.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Caching of an answer: assets are at paths with a hash of them all, so what is at one never changes.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheAsk     = "no-cache"
)

// maxFile bounds a file of a folder, in bytes.
const maxFile = 16 << 20

// Settings is what the page must know before it can ask.
type Settings struct {
	// ContentPath is where the page is, beginning and ending with /.
	ContentPath string `json:"contentPath"`
	// Datacenter and Node are those of the agent.
	Datacenter string `json:"datacenter"`
	Node       string `json:"node"`
	// Domain is that of DNS names, without a dot at its end.
	Domain string `json:"domain"`
	// Access says that access control is on: who has no token may see little.
	Access bool `json:"access"`
	// Version of the program.
	Version string `json:"version"`
}

// Handler serves the interface at its content path. It is safe for concurrent use.
type Handler struct {
	settings Settings
	files    fs.FS
	base     string // of assets, a path that ends in /
	live     bool   // files may change: they come from a folder
	kept     map[string]*file
	index    *file
}

// New returns a handler of the files that are part of the program or, with a folder, of those
// in it, read again for each request. The error names what is missing.
func New(s Settings, dir string) (*Handler, error) {
	h := &Handler{settings: s, live: dir != ""}
	if !h.live {
		var err error
		if h.files, err = fs.Sub(embedded, "assets"); err != nil {
			return nil, err
		}
		return h, h.keep()
	}
	root, err := os.OpenRoot(dir) // links do not lead out of it
	if err != nil {
		return nil, fmt.Errorf("open the folder of the web interface (ui_config.dir): %w", err)
	}
	h.files, h.base = root.FS(), s.ContentPath+"assets/live/"
	if _, err := h.page(); err != nil {
		return nil, errors.Join(fmt.Errorf("the folder %s (ui_config.dir) has no page: %w", dir, err), root.Close())
	}
	return h, nil
}

// keep reads, hashes and compresses all files once.
func (h *Handler) keep() error {
	h.kept = map[string]*file{}
	all := sha256.New()
	err := fs.WalkDir(h.files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(h.files, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(all, "%s %d\n", name, len(b))
		all.Write(b)
		if name != "index.html" {
			h.kept[name] = newFile(name, b)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the web interface: %w", err)
	}
	h.base = h.settings.ContentPath + "assets/" + hex.EncodeToString(all.Sum(nil)[:8]) + "/"
	h.index, err = h.page()
	return err
}

// page is index.html with what depends on the agent in its places.
func (h *Handler) page() (*file, error) {
	b, err := h.read("index.html")
	if err != nil {
		return nil, err
	}
	settings, err := json.Marshal(h.settings)
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer("{{base}}", html.EscapeString(h.base), "{{settings}}", html.EscapeString(string(settings)), "{{preload}}", h.preload()).Replace(string(b))
	return newFile("index.html", []byte(text)), nil
}

// first are the scripts that the first page is made of, by name.
func (h *Handler) first() []string {
	// what a module needs before it runs; what import(…) names is loaded when it is needed
	imported := regexp.MustCompile(`(?m)^(?:import|export)\b[^'"()]*?from ?['"](\.[^'"]+)['"]`)
	names, seen := []string{"app.js"}, map[string]bool{"app.js": true}
	for i := 0; i < len(names); i++ {
		f := h.kept[names[i]]
		if f == nil {
			continue
		}
		for _, m := range imported.FindAllSubmatch(f.plain, -1) {
			if name := path.Join(path.Dir(names[i]), string(m[1])); !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// preload names the scripts of the first page, so that a browser fetches all at once and not each when
// another has asked for it.
func (h *Handler) preload() string {
	var b strings.Builder
	for _, name := range h.first() {
		if h.kept[name] != nil {
			fmt.Fprintf(&b, "<link rel=\"modulepreload\" href=\"%s\">\n", html.EscapeString(h.base+name))
		}
	}
	return b.String()
}

func (h *Handler) read(name string) ([]byte, error) {
	f, err := h.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxFile)
	}
	return io.ReadAll(io.LimitReader(f, maxFile)) // it may grow meanwhile
}

// ServeHTTP implements http.Handler: assets below their path, the page for everything else,
// since what is behind the content path is the page's business.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", Policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	if name, ok := strings.CutPrefix(r.URL.Path, h.base); ok {
		h.asset(w, r, name)
		return
	}
	if strings.HasPrefix(r.URL.Path, h.settings.ContentPath+"assets/") { // of another version, or of none
		http.Error(w, "There is no such file here: reload the page", http.StatusNotFound)
		return
	}
	index := h.index
	if h.live {
		var err error
		if index, err = h.page(); err != nil {
			http.Error(w, "The page cannot be read from ui_config.dir", http.StatusInternalServerError)
			return
		}
	}
	head.Set("Cache-Control", cacheAsk)
	index.serve(w, r)
}

func (h *Handler) asset(w http.ResponseWriter, r *http.Request, name string) {
	f, caching := h.kept[name], cacheForever
	if h.live && name == path.Clean(name) && fs.ValidPath(name) {
		caching = cacheAsk
		if b, err := h.read(name); err == nil {
			f = newFile(name, b)
		}
	}
	if f == nil {
		http.Error(w, "There is no such file here: reload the page", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", caching)
	f.serve(w, r)
}

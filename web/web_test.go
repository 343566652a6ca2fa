package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// budget is how much a first visit may load, compressed, in bytes.
const budget = 150_000

func start(t *testing.T, dir string) *Handler {
	t.Helper()
	h, err := New(Settings{ContentPath: "/ui/", Datacenter: `dc"><script>`, Node: "n1", Domain: "consul", Access: true}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEveryAnswerHasTheHeadersThatProtectItsReader(t *testing.T) {
	h := start(t, "")
	for path, want := range map[string]int{"/ui/": 200, "/ui/dc1/services/web": 200, h.base + "app.js": 200, h.base + "nothing.js": 404, "/ui/assets/0000/app.js": 404, "/ui/assets/": 404, h.base: 404} {
		w := get(h, path)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
		for name, value := range map[string]string{"Content-Security-Policy": Policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := w.Header().Get(name); got != value {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	for _, weak := range []string{"unsafe", "*", "http:", "https:"} {
		if strings.Contains(Policy, weak) {
			t.Errorf("the policy has %s", weak)
		}
	}
}

// What the agent says of itself is data, whatever it is called.
func TestThePageCarriesSettingsAsData(t *testing.T) {
	body := get(start(t, ""), "/ui/").Body.String()
	found := regexp.MustCompile(`<meta name="legate" content="([^"]*)">`).FindStringSubmatch(body)
	if found == nil || strings.Count(body, "<script") != 1 || strings.Contains(body, "{{") {
		t.Fatalf("the page is\n%s", body)
	}
	var got Settings
	if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &got); err != nil || got.Datacenter != `dc"><script>` || !got.Access || got.ContentPath != "/ui/" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAssetsAreKeptForeverAndThePageIsAskedFor(t *testing.T) {
	h := start(t, "")
	page, script := get(h, "/ui/"), get(h, h.base+"app.js")
	if page.Header().Get("Cache-Control") != "no-cache" || script.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%q, %q", page.Header().Get("Cache-Control"), script.Header().Get("Cache-Control"))
	}
	if script.Header().Get("Content-Type") != "text/javascript; charset=utf-8" || script.Header().Get("Content-Encoding") != "" {
		t.Errorf("%v", script.Header())
	}
	for _, path := range []string{"/ui/", h.base + "app.css"} {
		first := get(h, path)
		if w := get(h, path, "If-None-Match", first.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s is sent again: %d", path, w.Code)
		}
		w := get(h, path, "Accept-Encoding", "br, gzip")
		z, err := gzip.NewReader(w.Body)
		if err != nil || w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%s: %v %v", path, err, w.Header())
		}
		if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, first.Body.Bytes()) {
			t.Errorf("%s is another one compressed: %v", path, err)
		}
	}
	other, err := New(Settings{ContentPath: "/consul/ui/"}, "")
	if err != nil || !strings.HasPrefix(other.base, "/consul/ui/assets/") || !strings.Contains(get(other, "/consul/ui/x").Body.String(), other.base+"app.js") {
		t.Errorf("another content path: %v", err)
	}
}

func TestAFolderTakesThePlaceOfTheBuiltInFiles(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret.js")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(Settings{ContentPath: "/ui/"}, dir); err == nil || !strings.Contains(err.Error(), "ui_config.dir") {
		t.Errorf("a folder without a page: %v", err)
	}
	if _, err := New(Settings{ContentPath: "/ui/"}, filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "ui_config.dir") {
		t.Errorf("no folder: %v", err)
	}
	write(filepath.Join(dir, "index.html"), "one {{base}}")
	write(outside, "secret")
	if err := os.Symlink(outside, filepath.Join(dir, "link.js")); err != nil {
		t.Fatal(err)
	}
	h := start(t, dir)
	write(filepath.Join(dir, "index.html"), "two {{base}}")
	write(filepath.Join(dir, "a.js"), "let a")
	if w := get(h, "/ui/"); w.Body.String() != "two /ui/assets/live/" {
		t.Errorf("%q", w.Body)
	}
	if w := get(h, "/ui/assets/live/a.js"); w.Body.String() != "let a" || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%q %v", w.Body, w.Header())
	}
	for _, name := range []string{"link.js", "../secret.js", "/etc/passwd", ".", "x/../a.js"} {
		if w := get(h, "/ui/assets/live/"+name); w.Code != 404 {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
}

func TestAFirstVisitIsSmall(t *testing.T) {
	h := start(t, "")
	sum, all, page := len(h.index.small), 0, string(h.index.plain)
	for name, f := range h.kept {
		switch filepath.Ext(name) {
		case ".js":
			all += len(f.small)
			if strings.Contains(page, h.base+name) {
				sum += len(f.small)
			}
		case ".css", ".svg":
			sum += len(f.small)
		}
	}
	if sum > budget {
		t.Errorf("%d bytes compressed, %d at most", sum, budget)
	}
	for name, want := range map[string]bool{"app.js": true, "thirdparty/htm.js": true, "pages/federation.js": true, "parts/map.js": true, "lib/drawing.js": true,
		"pages/keys.js": false, "thirdparty/uplot.js": false} {
		if h.kept[name] == nil || strings.Contains(page, `"modulepreload" href="`+h.base+name) != want {
			t.Errorf("%s is loaded ahead, or not: %v is right", name, want)
		}
	}
	t.Logf("%d bytes compressed, of %d of all scripts", sum, all)
}

// What others made is what make vendor-web brought, with its licence beside it.
func TestLibrariesAreWhatWasRecorded(t *testing.T) {
	const dir = "assets/thirdparty/"
	sums, err := fs.ReadFile(embedded, dir+"SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{"SHA256SUMS": ""}
	for lines := bufio.NewScanner(bytes.NewReader(sums)); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		recorded[name] = sum
	}
	entries, err := fs.ReadDir(embedded, strings.TrimSuffix(dir, "/"))
	if err != nil || len(entries) != len(recorded) {
		t.Errorf("%d files, %d are recorded: %v", len(entries), len(recorded), err)
	}
	for _, e := range entries {
		b, err := fs.ReadFile(embedded, dir+e.Name())
		if sum := sha256.Sum256(b); err != nil || e.Name() != "SHA256SUMS" && hex.EncodeToString(sum[:]) != recorded[e.Name()] {
			t.Errorf("%s is not what was recorded: run make vendor-web (%v)", e.Name(), err)
		}
	}
	for _, name := range []string{"preact.LICENSE.txt", "htm.LICENSE.txt", "uplot.LICENSE.txt"} {
		if _, ok := recorded[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

// The page shows what others wrote. It makes no markup of text, and loads nothing from elsewhere.
func TestThePageMakesNoMarkupOfText(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|\beval\(|new Function|https?://|\sstyle="|\son[a-z]+="`)
	h := start(t, "")
	for _, name := range slices.Sorted(maps.Keys(h.kept)) {
		text := strings.ReplaceAll(string(h.kept[name].plain), "nothing here or elsewhere sets innerHTML", "")
		text = strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, "")
		if found := forbidden.FindString(text); found != "" && !strings.HasPrefix(name, "thirdparty/") {
			t.Errorf("%s has %s", name, found)
		}
	}
}

// The modules that draw nothing are tested by node, with its own runner.
func TestModules(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node is missing: .ci/run installs it")
		}
		t.Skip("node is not installed: .ci/run installs it")
	}
	files, err := filepath.Glob("tests/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatal("no tests", err)
	}
	out, err := exec.CommandContext(t.Context(), node, append([]string{"--test", "--test-reporter=spec"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"

	"github.com/legate-project/legate/internal/accept"
)

// file is one file as it is served.
type file struct {
	typ   string // its Content-Type
	etag  string
	plain []byte
	small []byte // with gzip; nil if that makes it no smaller
}

func newFile(name string, b []byte) *file {
	sum := sha256.Sum256(b)
	f := &file{typ: typeOf(name), etag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: b}
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is valid
	_, err := z.Write(b)
	if err == nil {
		err = z.Close()
	}
	if err == nil && buf.Len() < len(b) { // a buffer does not fail
		f.small = buf.Bytes()
	}
	return f
}

// typeOf is fixed here: the tables of operating systems have others for scripts, and a browser
// that must not guess would not run them.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".json":
		return "application/json"
	case ".woff2":
		return "font/woff2"
	case ".txt", "":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// serve answers with the file, or that the reader has it.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", f.etag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	b := f.plain
	if f.small != nil && accept.Gzip(r.Header["Accept-Encoding"]) {
		b = f.small
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.typ)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) //nolint:gosec // files of the program, or of a folder of its operator; who is gone needs no answer
	}
}

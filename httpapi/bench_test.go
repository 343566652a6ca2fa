package httpapi

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
)

// bareBody answers what the API would, with nothing in between.
func bareBody(w *world) http.Handler {
	body := []byte("[" + resttest.EntryA + "]")
	contentType := []string{"application/json"}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header()["Content-Type"] = contentType
		_, _ = rw.Write(body)
	})
}

func benchmarkGet(b *testing.B, url string) {
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	client := &http.Client{Transport: tr}
	defer tr.CloseIdleConnections()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Get(url)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}

// BenchmarkGet compares with a handler that only writes the same bytes, over
// real connections; client and server share the machine.
func BenchmarkGet(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		w := start(b)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		hs := &http.Server{Handler: bareBody(w)}
		go func() { _ = hs.Serve(l) }()
		defer hs.Close()
		benchmarkGet(b, "http://"+l.Addr().String()+"/v1/kv/a")
	})
	b.Run("kv", func(b *testing.B) {
		w := start(b)
		url, _ := serving(b, w)
		benchmarkGet(b, url+"/v1/kv/a")
	})
}

// nullWriter costs nothing.
type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *nullWriter) WriteHeader(int)             {}

// BenchmarkHandler is the API alone, without net/http's share.
func BenchmarkHandler(b *testing.B) {
	for _, c := range []struct{ name, method, target, body string }{
		{"get", "GET", "/v1/kv/a", ""}, {"get-stale", "GET", "/v1/kv/a?stale", ""}, {"put", "PUT", "/v1/kv/a", "value"},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := start(b)
			req, err := http.NewRequest(c.method, c.target, nil)
			if err != nil {
				b.Fatal(err)
			}
			rw := &nullWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				req.ContentLength, req.Body = int64(len(c.body)), io.NopCloser(strings.NewReader(c.body))
				clear(rw.h)
				w.api.ServeHTTP(rw, req)
			}
		})
	}
}

package command

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestARefusedHandshakeIsExplained: also where the HTTP client lost what was said.
func TestARefusedHandshakeIsExplained(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c := newClient(fs, ToAgent)
	if err := fs.Parse([]string{"-http-addr=" + s.URL, "-tls-server-name=example.com"}); err != nil {
		t.Fatal(err)
	}
	lost := &url.Error{Op: "Get", URL: s.URL, Err: errors.New("client conn could not be established")}
	if got := c.Explain(lost); !strings.Contains(got, "-ca-file") {
		t.Errorf("of an authority that is not known: %q", got)
	}
	c.caFile = writeCA(t, s)
	if got := c.Explain(lost); !strings.Contains(got, "-client-cert") {
		t.Errorf("of a certificate that is missing: %q", got)
	}
	open := httptest.NewTLSServer(http.NotFoundHandler())
	defer open.Close()
	c.addr = open.URL
	if got := c.Explain(lost); got != lost.Error() {
		t.Errorf("where the handshake goes well: %q", got)
	}
}

// writeCA writes the certificate that a server of httptest shows.
func writeCA(t *testing.T, s *httptest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// What is between the client and the network sees what goes through a Unix socket, too.
func TestASocketIsReachedThroughWhatIsBetween(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "http.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerDatacenters, "dc1;ok, dc2;unreachable")
		_, _ = w.Write([]byte(`"10.0.0.1:8300"`))
	})}}
	s.Start()
	defer s.Close()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c := newClient(fs, ToDatacenter)
	if err := fs.Parse([]string{"-http-addr=unix://" + path, "-datacenter=dc1"}); err != nil {
		t.Fatal(err)
	}
	var seen atomic.Int32
	via, err := c.OpenVia(func(next http.RoundTripper) http.RoundTripper { return counting{next, &seen} })
	if err != nil {
		t.Fatal(err)
	}
	if leader, err := via.Status().Leader(); err != nil || leader != "10.0.0.1:8300" || seen.Load() != 1 {
		t.Errorf("leader %q, %v, seen %d times", leader, err, seen.Load())
	}
	var told strings.Builder
	c.stderr = &told
	client, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	if leader, err := client.Status().Leader(); err != nil || leader != "10.0.0.1:8300" || !strings.Contains(told.String(), "dc2 cannot be reached") {
		t.Errorf("leader %q, %v, told %q", leader, err, told.String())
	}
}

type counting struct {
	next http.RoundTripper
	n    *atomic.Int32
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.next.RoundTrip(r)
}

package command

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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

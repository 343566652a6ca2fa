package config

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

// All faults of the tls block come at once, and each says what to do.
func TestFaultsOfTLS(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{`tls { internal_rpc { cert_file = "/c" verify_incoming = true verify_outgoing = true } }`,
			[]string{"tls.internal_rpc.cert_file: takes key_file", "cert_file: takes ca_file", "verify_incoming: takes ca_file", "verify_outgoing: takes ca_file"}},
		{`verify_server_hostname = true`, []string{"tls.internal_rpc.verify_server_hostname: takes ca_file"}},
		{`server = true bootstrap = true ca_file = "/a" verify_incoming_rpc = true`, []string{"tls.internal_rpc.verify_incoming: takes cert_file"}},
		{`tls { internal_rpc { tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" } }`, []string{"tls.internal_rpc.tls_cipher_suites: has no place here: between agents TLS 1.3 alone"}},
		{`tls { https { tls_cipher_suites = "TLS_RSA_WITH_RC4_128_SHA,TLS_AES_128_GCM_SHA256,nonsense" } }`, []string{"TLS_RSA_WITH_RC4_128_SHA, TLS_AES_128_GCM_SHA256, nonsense"}},
		{`tls { https { tls_min_version = "TLSv1_3" tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" } }`, []string{"tls.https.tls_cipher_suites: has no effect"}},
		{`tls_min_version = "tls11"`, []string{"tls.defaults.tls_min_version", "RFC 8996"}},
		{`tls { https { tls_min_version = "1.2" } }`, []string{"must be TLSv1_2 or TLSv1_3"}},
		{`server = true bootstrap = true auto_encrypt { tls = true }`, []string{"auto_encrypt.tls: is for client agents"}},
		{`auto_encrypt { tls = true }`, []string{"auto_encrypt.tls: takes ca_file"}},
		{`auto_encrypt { allow_tls = true }`, []string{"auto_encrypt.allow_tls: is for servers"}},
		{`server = true bootstrap = true auto_encrypt { allow_tls = true }`, []string{"auto_encrypt.allow_tls: takes tls.internal_rpc.cert_file"}},
		{`ports { https = 8501 } tls { https { cert_file = "/c" key_file = "/k" verify_incoming = true } }`, []string{"tls.https.verify_incoming: takes ca_file"}},
		{`ports { https = 8501 } tls { https { key_file = "/k" } }`, []string{"tls.https.key_file: takes cert_file"}},
	} {
		_, _, err := load(t, `data_dir = "/d" `+c.text)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", c.text, err, want)
			}
		}
	}
}

// What configurations for Consul say of a port that nothing can be served on is no
// fault: the test server of its SDK does.
func TestHTTPSWithoutACertificateIsOffAndSaysSo(t *testing.T) {
	c, notes, err := load(t, `data_dir = "/d" ports { https = 8501 }`)
	if err != nil || c.Ports.HTTPS != -1 || !strings.Contains(strings.Join(notes, " "), "ports.https") {
		t.Errorf("%v, %v, %q", c, err, notes)
	}
}

// A listener has what it says itself, and of the rest what the defaults say; the
// flat keys of older configurations mean the same.
func TestListenersTakeTheDefaultsOfTLS(t *testing.T) {
	c := mustLoad(t, `data_dir = "/d" ports { https = 8501 }
tls {
  defaults { ca_file = "/ca" ca_path = "/cas" cert_file = "/c" key_file = "/k" verify_incoming = true verify_outgoing = true tls_min_version = "TLSv1_3" }
  internal_rpc { verify_server_hostname = true }
  https { verify_incoming = false cert_file = "/hc" key_file = "/hk" tls_min_version = "TLSv1_2" tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" }
}`)
	rpc, https := c.TLS.InternalRPC, c.TLS.HTTPS
	if want := (TLSListener{CAFile: "/ca", CAPath: "/cas", CertFile: "/c", KeyFile: "/k", TLSMinVersion: "TLSv1_3", VerifyIncoming: true, VerifyOutgoing: true, VerifyServerHostname: true}); rpc != want {
		t.Errorf("between agents %+v", rpc)
	}
	if https.CAFile != "/ca" || https.CertFile != "/hc" || https.KeyFile != "/hk" || https.VerifyIncoming || https.MinVersion() != tls.VersionTLS12 ||
		!slices.Equal(https.CipherSuites(), []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}) {
		t.Errorf("HTTPS %+v", https)
	}
	flat := mustLoad(t, `data_dir = "/d" ports { https = 8501 } ca_file = "/ca" cert_file = "/c" key_file = "/k" verify_incoming = true verify_incoming_https = false
verify_outgoing = true verify_server_hostname = true tls_min_version = "tls13" tls_prefer_server_cipher_suites = true`)
	rpc, https = flat.TLS.InternalRPC, flat.TLS.HTTPS
	if !rpc.VerifyIncoming || !rpc.VerifyOutgoing || !rpc.VerifyServerHostname || rpc.CertFile != "/c" || https.VerifyIncoming || https.KeyFile != "/k" || https.MinVersion() != tls.VersionTLS13 {
		t.Errorf("flat keys give %+v and %+v", rpc, https)
	}
	alone := mustLoad(t, `data_dir = "/d" ports { https = 8501 } cert_file = "/c" key_file = "/k"`)
	if alone.TLS.InternalRPC.CertFile != "" || alone.TLS.HTTPS.CertFile != "/c" {
		t.Errorf("a certificate without authorities is used as %+v", alone.TLS)
	}
}

package config

import (
	"crypto/tls"
	"reflect"
	"slices"
	"strings"
)

// MinVersion is tls_min_version as crypto/tls has it.
func (l *TLSListener) MinVersion() uint16 {
	v, _ := tlsVersion(l.TLSMinVersion) // Load has checked it
	return v
}

// CipherSuites are tls_cipher_suites as crypto/tls has them; nil for all.
func (l *TLSListener) CipherSuites() []uint16 {
	ids, _ := cipherSuites(l.TLSCipherSuites) // Load has checked them
	return ids
}

// HasAuthorities reports whether there are authorities to check certificates with.
func (l *TLSListener) HasAuthorities() bool { return l.CAFile != "" || l.CAPath != "" }

// tlsVersion reads the words of the tls block and those of the older flat key.
func tlsVersion(word string) (v uint16, why string) {
	switch word {
	case "", "TLS_AUTO", "TLSv1_2", "tls12":
		return tls.VersionTLS12, ""
	case "TLSv1_3", "tls13":
		return tls.VersionTLS13, ""
	case "TLSv1_0", "TLSv1_1", "tls10", "tls11":
		return tls.VersionTLS12, "TLS before 1.2 is not spoken (RFC 8996): use TLSv1_2 or TLSv1_3"
	}
	return tls.VersionTLS12, "must be TLSv1_2 or TLSv1_3"
}

// cipherSuites returns the numbers of suites of TLS 1.2, and the names of what are
// none.
func cipherSuites(list string) (ids []uint16, unknown []string) {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
			return s.Name == name && slices.Contains(s.SupportedVersions, tls.VersionTLS12)
		})
		if i < 0 {
			unknown = append(unknown, name)
			continue
		}
		ids = append(ids, tls.CipherSuites()[i].ID)
	}
	return ids, unknown
}

// inheritTLS gives each listener what it leaves out.
func (f *finisher) inheritTLS() {
	t := &f.cfg.TLS
	from := reflect.ValueOf(t.Defaults)
	for _, b := range t.blocks()[1:] {
		v := reflect.ValueOf(b.listener).Elem()
		for _, key := range fieldsOf(v.Type(), marks{}) {
			if !f.isSet(join(b.path, key.key)) {
				v.Field(key.index).Set(from.Field(key.index))
			}
		}
		if b.listener.VerifyServerHostname {
			b.listener.VerifyOutgoing = true
		}
	}
	rpc := &t.InternalRPC
	if !rpc.HasAuthorities() && rpc.CertFile != "" && f.whereTLS("internal_rpc", "cert_file") == "tls.defaults.cert_file" {
		rpc.CertFile, rpc.KeyFile = "", ""
		f.note("tls.defaults.cert_file", "tls.defaults.cert_file is for HTTPS alone: certificates of agents take ca_file or ca_path as well")
	}
}

// tlsBlock is a block of the tls block.
type tlsBlock struct {
	path     string
	listener *TLSListener
}

// blocks are those that mean something, the defaults first.
func (t *TLS) blocks() []tlsBlock {
	return []tlsBlock{{"tls.defaults", &t.Defaults}, {"tls.internal_rpc", &t.InternalRPC}, {"tls.https", &t.HTTPS}}
}

// whereTLS is the key that gave a listener its value: its own or that of the
// defaults.
func (f *finisher) whereTLS(listener, key string) string {
	if own := join("tls."+listener, key); f.isSet(own) || !f.isSet("tls.defaults."+key) {
		return own
	}
	return "tls.defaults." + key
}

func (f *finisher) checkTLS() {
	c := f.cfg
	rpc, https := &c.TLS.InternalRPC, &c.TLS.HTTPS
	f.checkPair("internal_rpc", rpc)
	if https.CertFile != rpc.CertFile || https.KeyFile != rpc.KeyFile {
		f.checkPair("https", https)
	}
	if !rpc.HasAuthorities() {
		for _, key := range []struct {
			name string
			set  bool
		}{{"cert_file", rpc.CertFile != ""}, {"verify_incoming", rpc.VerifyIncoming}, {"verify_server_hostname", rpc.VerifyServerHostname},
			{"verify_outgoing", rpc.VerifyOutgoing && !rpc.VerifyServerHostname}} {
			if key.set {
				f.fault(f.whereTLS("internal_rpc", key.name), "takes ca_file or ca_path: without authorities no certificate of another agent can be checked")
			}
		}
	}
	if rpc.VerifyIncoming && rpc.CertFile == "" && c.Server && rpc.HasAuthorities() {
		f.fault(f.whereTLS("internal_rpc", "verify_incoming"), "takes cert_file and key_file on a server: the other servers would refuse this one")
	}
	f.checkVersions()
	f.checkAutoEncrypt()
	if c.Ports.HTTPS < 0 {
		return
	}
	if https.CertFile == "" && https.KeyFile == "" {
		// Configurations for Consul, and the test server of its SDK, name the port all the same.
		f.note("ports.https", "ports.https has no effect without a certificate: set tls.https.cert_file and key_file, or those of tls.defaults (legate tls cert create makes them)")
		c.Ports.HTTPS = -1
		return
	}
	if https.VerifyIncoming && !https.HasAuthorities() && (rpc.HasAuthorities() || !rpc.VerifyIncoming) { // else it is said above
		f.fault(f.whereTLS("https", "verify_incoming"), "takes ca_file or ca_path: without authorities no certificate of a client can be checked")
	}
}

// checkAutoEncrypt does not look for the gossip key: it may be in data_dir alone.
func (f *finisher) checkAutoEncrypt() {
	c, rpc := f.cfg, &f.cfg.TLS.InternalRPC
	switch ask, give := c.AutoEncrypt.TLS, c.AutoEncrypt.AllowTLS; {
	case ask && c.Server:
		f.fault("auto_encrypt.tls", "is for client agents: servers have certificates from files")
	case ask && !rpc.HasAuthorities():
		f.fault("auto_encrypt.tls", "takes ca_file or ca_path: without authorities the certificate cannot be checked")
	case ask && rpc.CertFile != "":
		f.note("auto_encrypt.tls", "auto_encrypt.tls has no effect: cert_file gives this agent its certificate")
		c.AutoEncrypt.TLS = false
	case give && !c.Server:
		f.fault("auto_encrypt.allow_tls", "is for servers: client agents give no certificates")
	case give && rpc.CertFile == "":
		f.fault("auto_encrypt.allow_tls", "takes tls.internal_rpc.cert_file and key_file: with that key the certificates are signed")
	}
}

func (f *finisher) checkPair(listener string, l *TLSListener) {
	switch {
	case l.CertFile != "" && l.KeyFile == "":
		f.fault(f.whereTLS(listener, "cert_file"), "takes key_file, the private key of the certificate")
	case l.CertFile == "" && l.KeyFile != "":
		f.fault(f.whereTLS(listener, "key_file"), "takes cert_file, the certificate of the key")
	}
}

// checkVersions checks versions and suites of TLS.
func (f *finisher) checkVersions() {
	t := &f.cfg.TLS
	for _, b := range t.blocks() {
		path, l := b.path, b.listener
		if key := path + ".tls_min_version"; f.isSet(key) {
			if _, why := tlsVersion(l.TLSMinVersion); why != "" {
				f.fault(key, "%q: %s", l.TLSMinVersion, why)
			}
		}
		key := path + ".tls_cipher_suites"
		if !f.isSet(key) || l.TLSCipherSuites == "" {
			continue
		}
		if _, unknown := cipherSuites(l.TLSCipherSuites); unknown != nil {
			f.fault(key, "not suites of TLS 1.2 that are thought safe: %s. Those are %s", strings.Join(unknown, ", "), strings.Join(suiteNames(), ", "))
		}
		if l == &t.InternalRPC {
			f.fault(key, "has no place here: between agents TLS 1.3 alone is spoken (QUIC knows no other), and its suites are not chosen")
		}
	}
	if https := &t.HTTPS; https.TLSCipherSuites != "" && https.MinVersion() == tls.VersionTLS13 {
		f.fault(f.whereTLS("https", "tls_cipher_suites"), "has no effect with tls_min_version TLSv1_3, whose suites are not chosen: leave one of them out")
	}
	if t.Defaults.TLSCipherSuites != "" {
		f.note("tls.defaults.tls_cipher_suites", "tls.defaults.tls_cipher_suites concern HTTPS alone: between agents TLS 1.3 is spoken, whose suites are not chosen")
	}
}

func suiteNames() []string {
	var names []string
	for _, s := range tls.CipherSuites() {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
			names = append(names, s.Name)
		}
	}
	return names
}

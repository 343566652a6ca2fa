package credentials

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/transport/authority"
)

// made is an authority of a test and a certificate under it, as files.
type made struct{ dir, ca, cert, key string }

func makeFiles(t *testing.T, now time.Time, life time.Duration) made {
	t.Helper()
	m := made{dir: t.TempDir()}
	ca, err := authority.New(authority.Settings{Domain: "consul", Life: 24 * time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m.ca = m.write(t, "ca.pem", ca.Certificate)
	set, faults := Read(Files{CertFile: m.ca, KeyFile: m.write(t, "ca-key.pem", ca.Key)}, time.Now())
	if faults != nil {
		t.Fatal(faults)
	}
	key, ok := set.Certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("no ECDSA key")
	}
	a, err := authority.Open(set.Certificate.Leaf, key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Issue(authority.Request{Datacenter: "dc1", Domain: "consul", Life: life}, now)
	if err != nil {
		t.Fatal(err)
	}
	m.cert, m.key = m.write(t, "cert.pem", pair.Certificate), m.write(t, "key.pem", pair.Key)
	return m
}

func (m made) write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilesAreRead(t *testing.T) {
	m := makeFiles(t, time.Now(), time.Hour)
	dir := filepath.Join(m.dir, "cas")
	if err := os.MkdirAll(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(m.ca, filepath.Join(dir, "linked.pem")); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Files{
		"ca_file": {CAFile: m.ca, CertFile: m.cert, KeyFile: m.key}, "ca_path": {CAPath: dir, CertFile: m.cert, KeyFile: m.key},
	} {
		set, faults := Read(f, time.Now())
		if faults != nil {
			t.Errorf("%s: %v", name, faults)
			continue
		}
		if _, err := set.Certificate.Leaf.Verify(x509.VerifyOptions{Roots: set.Roots, DNSName: "server.dc1.consul"}); err != nil || len(set.Authorities) != 1 {
			t.Errorf("%s: %d authorities, %v", name, len(set.Authorities), err)
		}
	}
	if set, faults := Read(Files{}, time.Now()); faults != nil || set.Certificate != nil || set.Roots != nil {
		t.Errorf("no files: %+v, %v", set, faults)
	}
}

// Every fault is named with its file, all at once, and no key is shown.
func TestFaultsNameTheFile(t *testing.T) {
	now := time.Now()
	m, other, old := makeFiles(t, now, time.Hour), makeFiles(t, now, time.Hour), makeFiles(t, now.Add(-2*time.Hour), time.Hour)
	key, err := os.ReadFile(m.key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(key)
	secret := strings.Split(string(key), "\n")[1][:20]
	garbage := m.write(t, "garbage", []byte("no pem at all "+secret))
	torn := m.write(t, "torn", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: block.Bytes[:40]}))
	locked := m.write(t, "locked", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes}))
	long := m.write(t, "long", make([]byte, maxFile+1))
	missing := filepath.Join(m.dir, "missing")
	empty := t.TempDir()
	for name, c := range map[string]struct {
		f    Files
		want []string
	}{
		"all missing":          {Files{CAFile: missing, CAPath: missing + "s", CertFile: missing + "c", KeyFile: missing + "k"}, []string{"ca_file", "ca_path", "cert_file", "key_file", missing + "c", missing + "k", "no such file"}},
		"not PEM":              {Files{CAFile: garbage, CertFile: garbage, KeyFile: garbage}, []string{"ca_file", "cert_file", "key_file", "is not PEM", garbage}},
		"key and certificate":  {Files{CertFile: m.cert, KeyFile: other.key}, []string{"does not fit", other.key, m.cert}},
		"swapped":              {Files{CertFile: m.key, KeyFile: m.cert}, []string{"has no certificate in it", "has no private key in it"}},
		"expired":              {Files{CertFile: old.cert, KeyFile: old.key}, []string{"expired on", old.cert}},
		"no authority":         {Files{CAFile: m.cert}, []string{"not that of an authority", m.cert}},
		"torn":                 {Files{CertFile: m.cert, KeyFile: torn}, []string{"cannot be read", torn}},
		"locked":               {Files{CertFile: m.cert, KeyFile: locked}, []string{"passphrase", locked}},
		"too long":             {Files{CAFile: long}, []string{"longer than", long}},
		"a directory":          {Files{CAFile: m.dir}, []string{"is a directory"}},
		"an empty directory":   {Files{CAPath: empty}, []string{"has no files", empty}},
		"a certificate alone":  {Files{CertFile: m.cert}, []string{"belong together"}},
		"a directory of noise": {Files{CAPath: m.dir}, []string{"ca_path", garbage, m.key}},
	} {
		set, faults := Read(c.f, now)
		text := ""
		for _, err := range faults {
			text += err.Error() + "\n"
		}
		if (faults == nil) != (c.want == nil) || (faults == nil) != (set != nil) {
			t.Errorf("%s: %+v, %q", name, set, text)
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", name, text, want)
			}
		}
		if strings.Contains(text, secret) {
			t.Errorf("%s shows what is in the key: %s", name, text)
		}
	}
	if _, faults := Read(Files{CAFile: m.ca}, now.Add(48*time.Hour)); len(faults) != 1 || !strings.Contains(faults[0].Error(), "no authority is valid") {
		t.Errorf("expired authorities: %v", faults)
	}
	if _, faults := Read(Files{CertFile: m.cert, KeyFile: m.key}, now.Add(-time.Hour)); len(faults) != 1 || !strings.Contains(faults[0].Error(), "is valid from") {
		t.Errorf("a certificate of the future: %v", faults)
	}
}

// Whoever writes a file anew changes the state of the files.
func TestStateFollowsTheFiles(t *testing.T) {
	m := makeFiles(t, time.Now(), time.Hour)
	f := Files{CAFile: m.ca, CAPath: m.dir, CertFile: m.cert, KeyFile: m.key}
	seen := map[string]bool{f.State(): true}
	for i, file := range []string{m.ca, m.cert, m.key, m.write(t, "more.pem", nil)} {
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Duration(i+1)*time.Second)); err != nil {
			t.Fatal(err)
		}
		if seen[f.State()] {
			t.Errorf("%s was written anew and the state is the same", file)
		}
		seen[f.State()] = true
	}
	if first := f.State(); first != f.State() {
		t.Error("the state changes without a change")
	}
}

func TestKeysOfAllFormsAreRead(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := made{dir: t.TempDir()}.write(t, "k", append([]byte("a comment\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...))
	got, err := privateKey(path)
	if err != nil || !key.PublicKey.Equal(got.Public()) {
		t.Errorf("%v", err)
	}
}

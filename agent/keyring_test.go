package agent

import (
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/agent/keyring"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport/identity"
)

const (
	oneKey     = "MTIzNDU2Nzg5MDEyMzQ1Ng=="
	anotherKey = "YW5vdGhlcioxMjM0NTY3OA=="
)

func raw(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// believes tells whether who shows a certificate under a key is believed by an agent.
func believes(t *testing.T, id *x509.Certificate, key string) bool {
	t.Helper()
	other, err := identity.NewDerived(raw(t, key), identity.Peer{Datacenter: "dc1", Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return other.Authority().Equal(id)
}

// The files are those of Consul, readable by the user alone; they count more than
// the configuration, and what is changed outlives a restart.
func TestKeysOutliveARestart(t *testing.T) {
	dir, ip := t.TempDir(), loopback(70)
	config := `encrypt = "` + oneKey + `" ports { serf_wan = 8302 }`
	o := run(t, ip, dir, config)
	path := func(name string) string { return filepath.Join(dir, "serf", name) }
	for _, name := range []string{keyring.FileLAN, keyring.FileWAN} {
		b, err := os.ReadFile(path(name))
		if err != nil || string(b) != `["`+oneKey+`"]`+"\n" {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
		if info, err := os.Stat(path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	for _, ring := range []*gossip.Keyring{o.keys.LAN, o.keys.WAN} {
		for _, a := range []gossip.KeyAction{gossip.InstallKey, gossip.UseKey} {
			if err := ring.Change(a, raw(t, anotherKey)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !believes(t, o.certs.Identity().Authority(), anotherKey) {
		t.Error("the authority does not follow the key in use")
	}
	o.stop(t)
	o = run(t, ip, dir, config)
	if got := o.keys.WAN.Keys(); len(got) != 2 || string(got[0]) != string(raw(t, anotherKey)) || !believes(t, o.certs.Identity().Authority(), anotherKey) {
		t.Errorf("after a restart there are %d keys of the WAN", len(got))
	}
	if err := o.keys.LAN.Change(gossip.RemoveKey, raw(t, oneKey)); err != nil {
		t.Fatal(err)
	}
	o.stop(t)
	// One that takes part in the federation anew has the keys of its datacenter, not
	// that of the configuration.
	if err := os.Remove(path(keyring.FileWAN)); err != nil {
		t.Fatal(err)
	}
	o = run(t, ip, dir, config)
	if got := o.keys.WAN.Keys(); len(got) != 1 || string(got[0]) != string(raw(t, anotherKey)) {
		t.Errorf("a new keyring of the WAN has %d keys", len(got))
	}
	if log := o.log.String(); !strings.Contains(log, "is not in the gossip keyring") || strings.Contains(log, oneKey) || strings.Contains(log, anotherKey) {
		t.Errorf("the log: %s", log)
	}
	o.stop(t)
	// The files alone are enough.
	if o = run(t, ip, dir, ""); len(o.keys.LAN.Keys()) != 1 || strings.Contains(o.log.String(), "NO GOSSIP KEY") {
		t.Errorf("without a configured key: %d keys", len(o.keys.LAN.Keys()))
	}
	o.stop(t)
	if err := os.WriteFile(path(keyring.FileLAN), []byte(`["`+oneKey), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{`["` + oneKey: "is no keyring", "": "is no keyring"} {
		if err := os.WriteFile(path(keyring.FileLAN), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := fails(t, ip, dir, config)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path(keyring.FileLAN)) || strings.Contains(err.Error(), oneKey) {
			t.Errorf("with the file %q: %v", text, err)
		}
	}
}

// fails starts a server that cannot start.
func fails(t *testing.T, ip, dir, hcl string) error {
	t.Helper()
	cfg, err := load(t, ip, dir, "server = true bootstrap_expect = 1 "+hcl)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Config: cfg, Log: logging.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Start(t.Context())
	if stop := a.Stop(t.Context()); stop != nil {
		t.Error(stop)
	}
	return err
}

// The WAN pool begins with a key of its own if there is one, whether keys are kept or not.
func TestTheWANPoolHasAKeyOfItsOwn(t *testing.T) {
	config := `ports { serf_wan = 8302 } encrypt = "` + oneKey + `" encrypt_wan = "` + wanKey + `"`
	for i, more := range []string{"", " disable_keyring_file = true"} {
		dir := t.TempDir()
		o := run(t, loopback(72), dir, config+more)
		if o.keys.LAN.Shares(o.keys.WAN) || !o.keys.WAN.Has(raw(t, wanKey)) || !o.keys.LAN.Has(raw(t, oneKey)) {
			t.Errorf("the keys are %q and %q", o.keys.LAN.Keys(), o.keys.WAN.Keys())
		}
		b, err := os.ReadFile(filepath.Join(dir, "serf", keyring.FileWAN))
		if kept := err == nil && string(b) == `["`+wanKey+`"]`+"\n"; kept != (i == 0) {
			t.Errorf("the file: %q, %v", b, err)
		}
		o.stop(t)
	}
	if err := fails(t, loopback(72), t.TempDir(), `ports { serf_wan = 8302 } encrypt_wan = "`+wanKey+`"`); err == nil || !strings.Contains(err.Error(), "takes encrypt") {
		t.Errorf("without a key of the LAN pool: %v", err)
	}
}

func TestKeyringsThatAreNotKept(t *testing.T) {
	dir := t.TempDir()
	o := run(t, loopback(71), dir, `disable_keyring_file = true encrypt = "`+oneKey+`"`)
	if err := o.keys.LAN.Change(gossip.InstallKey, raw(t, anotherKey)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "serf", keyring.FileLAN)); !os.IsNotExist(err) {
		t.Errorf("the file: %v", err)
	}
}

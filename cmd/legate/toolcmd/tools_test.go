package toolcmd

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
	"github.com/legate-project/legate/internal/version"
)

func commands() []command.Command {
	return []command.Command{Keygen(), Validate(), Configtest(), Completion(), Man(), Version()}
}

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "version -format=xml", Code: 1, Err: "unknown -format"},
		{Args: "completion tcsh", Code: 1, Err: "want bash, zsh or fish"},
		{Args: "completion bash", Out: "complete -o nospace -C legate legate\n"},
		{Args: "man /dev/null/x", Code: 1, Err: "make the folder of the manual"},
		{Args: "keygen x", Code: 1, Err: "too many"},
		{Args: "validate", Code: 1, Err: "too few"},
	})
}

func TestTools(t *testing.T) {
	r := commandtest.Run(t, commands(), nil, "", "keygen")
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Out))
	if r.Code != 0 || err != nil || len(key) != 32 {
		t.Errorf("keygen: %q, %v", r.Out, err)
	}
	if again := commandtest.Run(t, commands(), nil, "", "keygen"); again.Out == r.Out {
		t.Error("two keys are the same")
	}
	r = commandtest.Run(t, commands(), nil, "", "version", "-format=json")
	var info struct {
		Version, Revision, Prerelease, Legate string
		BuildDate                             time.Time
		RPC                                   struct{ Default, Min, Max int }
	}
	d := json.NewDecoder(strings.NewReader(r.Out))
	d.DisallowUnknownFields()
	if err := d.Decode(&info); err != nil || info.Version != version.Consul || info.Legate != version.Release() || info.RPC.Default != 2 {
		t.Errorf("version: %q, %v", r.Out, err)
	}
	good, bad := filepath.Join(t.TempDir(), "a.hcl"), filepath.Join(t.TempDir(), "b.json")
	_ = os.WriteFile(good, []byte(`data_dir = "/d" bind_addr = "10.0.0.1" cache { entry_fetch_rate = 5 }`), 0o600)
	_ = os.WriteFile(bad, []byte(`{"data_dri":"/d","ports":{"http":-5}}`), 0o600)
	for _, command := range []string{"validate", "configtest"} {
		r = commandtest.Run(t, commands(), nil, "", command, good)
		if r.Code != 0 || r.Out != "Configuration is valid!\n" || !strings.Contains(r.Err, "cache.entry_fetch_rate is accepted but has no effect yet") {
			t.Errorf("%s: %d %q %q", command, r.Code, r.Out, r.Err)
		}
		r = commandtest.Run(t, commands(), nil, "", command, bad)
		if r.Code != 1 || !strings.Contains(r.Err, bad+`: data_dri: unknown key, did you mean "data_dir"?`) {
			t.Errorf("%s: %d %q", command, r.Code, r.Err)
		}
	}
	if r = commandtest.Run(t, commands(), nil, "", "validate", "-quiet", good); r.Out != "" || r.Code != 0 {
		t.Errorf("-quiet says %q", r.Out)
	}
}

// Faults of certificates are told, and are no faults of the configuration: it may be
// checked where they are not.
func TestValidateLooksAtCertificates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.hcl")
	missing := filepath.Join(t.TempDir(), "missing.pem")
	if err := os.WriteFile(path, []byte(`data_dir = "/d" bind_addr = "127.0.0.1" tls { defaults { ca_file = "`+missing+`" } }`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := commandtest.Run(t, commands(), nil, "", "validate", path)
	if r.Code != 0 || !strings.Contains(r.Err, "Warning: tls.internal_rpc: ca_file") || !strings.Contains(r.Err, missing) || !strings.Contains(r.Out, "valid") {
		t.Errorf("%d, %q, %q", r.Code, r.Out, r.Err)
	}
}

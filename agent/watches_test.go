package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/config"
)

func TestWatchesOfTheConfiguration(t *testing.T) {
	ip, dir, out := loopback(9), t.TempDir(), filepath.Join(t.TempDir(), "out")
	hcl := func(key string) string {
		return fmt.Sprintf(`watches = [{ type = "key" key = %q args = ["sh", "-c", "cat >> %s"] }]`, key, out)
	}
	o := run(t, ip, dir, hcl("a"))
	says := func(text string) func() bool {
		return func() bool { b, _ := os.ReadFile(out); return strings.Contains(string(b), text) }
	}
	store := func(key string) {
		t.Helper()
		if _, err := o.client.KV().Put(&api.KVPair{Key: key, Value: []byte("1")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	store("a")
	eventually(t, "the handler has seen the key", says(`"Key":"a"`))
	o.load = func() (*config.Config, error) {
		return load(t, ip, dir, "server = true bootstrap_expect = 1 "+hcl("b"))
	}
	if err := o.client.Agent().Reload(); err != nil {
		t.Fatal(err)
	}
	store("b")
	eventually(t, "the handler of the reloaded configuration has seen its key", says(`"Key":"b"`))
	o.load = func() (*config.Config, error) {
		return load(t, ip, dir, `server = true bootstrap_expect = 1 watches = [{ type = "weather" }]`)
	}
	if err := o.client.Agent().Reload(); err == nil || !strings.Contains(err.Error(), "weather") {
		t.Errorf("a watch of nothing is taken: %v", err)
	}
}

package httpapi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func (a *agentFake) SetToken(target, secret string) error {
	return a.note("token %s=%s", target, secret)
}
func (a *agentFake) Host() any {
	return map[string]any{"Host": map[string]string{"hostname": "n1"}}
}

// keptServices is what an agent keeps of its services on disk.
func keptServices(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "services", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

package credentials

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Files are the operator's, and what is in them may be anything; what is wrong is told
// without the key.
func FuzzRead(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	f.Add("", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	f.Add("\xef\xbb\xbf", "-----BEGIN EC PRIVATE KEY-----\nDEK-Info: x\n\nAAAA\n-----END EC PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, cert, key string) {
		dir := t.TempDir()
		files := Files{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"), CAFile: filepath.Join(dir, "cert")}
		for file, text := range map[string]string{files.CertFile: cert, files.KeyFile: key} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, faults := Read(files, time.Now())
		for _, err := range faults {
			if len(key) > 40 && strings.Contains(err.Error(), key) {
				t.Errorf("the key is in %v", err)
			}
		}
	})
}

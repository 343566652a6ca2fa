package debugcmd

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// hidden stands where a secret was.
const hidden = "(hidden)"

// secretWords are parts of the names of what must not leave the machine.
func secretWords() []string {
	return []string{"token", "secret", "password", "passwd", "passphrase", "api_key", "apikey", "access_key", "encrypt", "authorization", "private", "key_file", "cookie", "credential", "header", "body"}
}

// withoutSecrets replaces the texts whose names look like those of secrets,
// and those below them.
func withoutSecrets(v any) any { return scrub(v, false) }

func scrub(v any, secret bool) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = scrub(inner, secret || secretName(name))
		}
	case []any:
		for i := range v {
			v[i] = scrub(v[i], secret)
		}
	case string:
		if secret && v != "" {
			return hidden
		}
		return withoutInner(v)
	}
	return v
}

// Secrets stand within texts too: the user of a URL, its parameters, cloud
// credentials of retry_join, what a script of a check is given.
var (
	urlUser   = regexp.MustCompile(`(://)[^/@\s]+@`)
	namedText = regexp.MustCompile(`(?i)((?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|authorization|credential)[\w-]*\s*[=:]\s*)(?:(?:bearer|basic)\s+)?[^\s&"']+`)
)

func withoutInner(text string) string {
	return namedText.ReplaceAllString(urlUser.ReplaceAllString(text, "${1}"+hidden+"@"), "${1}"+hidden)
}

func secretName(name string) bool {
	name = strings.ToLower(name)
	if name == "encrypted" || strings.HasSuffix(name, "_ttl") { // yes or no, and a time
		return false
	}
	for _, word := range secretWords() {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// pack writes the files of a directory into a new archive, below its name.
func pack(dir, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(file)
	archive := tar.NewWriter(zip)
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if err == nil {
			err = packFile(archive, filepath.Join(dir, entry.Name()), filepath.Base(dir))
		}
	}
	return errors.Join(err, archive.Close(), zip.Close(), file.Sync(), file.Close())
}

func packFile(archive *tar.Writer, path, folder string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	err = archive.WriteHeader(&tar.Header{Name: folder + "/" + info.Name(), Mode: 0o600, Size: info.Size(), ModTime: info.ModTime().Truncate(time.Second)})
	if err != nil {
		return err
	}
	_, err = io.CopyN(archive, file, info.Size())
	return err
}

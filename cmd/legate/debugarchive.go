package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// hidden stands where a secret was.
const hidden = "(hidden)"

// secretWords are parts of the names of what must not leave the machine.
func secretWords() []string {
	return []string{"token", "secret", "password", "encrypt", "authorization", "private", "key_file", "cookie", "credential"}
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
	}
	return v
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

// keepLogFiles copies the agent's log files that changed in the last while.
func (d *capture) keepLogFiles(path string) error {
	if path == "" {
		return errors.New("the agent writes none: set log_file")
	}
	ext := filepath.Ext(path)
	names, err := filepath.Glob(strings.TrimSuffix(path, ext) + "*" + ext)
	if err != nil {
		return fmt.Errorf("find log files: %w", err)
	}
	var errs []error
	kept := 0
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && (!info.Mode().IsRegular() || d.now().Sub(info.ModTime()) > d.since) {
			continue
		}
		if err == nil {
			kept++
			err = d.copyFile(name)
		}
		errs = append(errs, err)
	}
	if kept == 0 && errors.Join(errs...) == nil {
		return fmt.Errorf("none at %s on this machine changed in the last %s", path, d.since)
	}
	return errors.Join(errs...)
}

func (d *capture) copyFile(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open a log file: %w", err)
	}
	defer in.Close()
	return d.keep("file-"+filepath.Base(path), in)
}

// keep writes a file of at most maxCapture bytes.
func (d *capture) keep(name string, from io.Reader) error {
	file, err := d.create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.LimitReader(from, maxCapture))
	return errors.Join(err, file.Close())
}

// close ends the collection: index, archive, and the directory is gone.
func (d *capture) close() error {
	d.index.End = d.now().UTC()
	text, err := json.MarshalIndent(&d.index, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.output, "index.json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	if !d.archive {
		fmt.Fprintf(d.stdout, "Saved debug directory: %s\n", d.output)
		return nil
	}
	path := d.output + ".tar.gz"
	if err := pack(d.output, path); err != nil {
		return fmt.Errorf("pack the archive (what was collected is in %s): %w", d.output, err)
	}
	fmt.Fprintf(d.stdout, "Saved debug archive: %s\n", path)
	return os.RemoveAll(d.output)
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

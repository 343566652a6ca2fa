package debugcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/lifecycle"
)

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
	d.index.Files = map[string]int64{}
	entries, err := os.ReadDir(d.output)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			d.index.Files[e.Name()] = info.Size()
		}
	}
	text, err := json.MarshalIndent(&d.index, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.output, "index.json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	if !d.archive {
		fmt.Fprintf(d.Stdout, "Saved debug directory: %s\n", d.output)
		return nil
	}
	path := d.output + ".tar.gz"
	if err := pack(d.output, path); err != nil {
		return fmt.Errorf("pack the archive (what was collected is in %s): %w", d.output, err)
	}
	fmt.Fprintf(d.Stdout, "Saved debug archive: %s\n", path)
	return os.RemoveAll(d.output)
}

// within asks what takes no context, and leaves it alone when ctx is over: an
// agent that hangs answers nothing, and is what evidence is wanted of.
func within[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	var none T
	answers := make(chan T, 1)
	failed, err := command.Background(lifecycle.New("ask"), "ask", func(context.Context) error {
		answer, err := ask()
		answers <- answer
		return err
	})
	if err != nil {
		return none, err
	}
	select {
	case err := <-failed:
		return <-answers, err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// answered says of what was still waited for at the end that it is missing.
func answered(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the agent had not answered when the collection ended")
	}
	return err
}

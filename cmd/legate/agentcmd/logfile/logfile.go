// Package logfile is a log file that rotates itself.
package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rotation says when a log file is set aside and how many are kept.
type Rotation struct {
	Bytes int64         // 0: whatever its size
	Age   time.Duration // 0: whatever its age
	Keep  int           // old files; 0: all, -1: none
}

// File is a log file that rotates itself. Its methods are safe for
// concurrent use.
type File struct {
	path string
	Rotation
	now func() time.Time

	mu      sync.Mutex
	file    *os.File
	size    int64
	created time.Time
}

// Open opens the file, with its directory, or makes them.
func Open(path string, r Rotation) (*File, error) {
	l := &File{path: path, Rotation: r, now: time.Now}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *File) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open the log file: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the log file: %w", err), file.Close())
	}
	l.file, l.size, l.created = file, info.Size(), l.now()
	return nil
}

// Write implements io.Writer; one call is one line.
func (l *File) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due(int64(len(line))) {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return n, err
}

func (l *File) due(more int64) bool {
	if l.size == 0 {
		return false
	}
	return (l.Bytes > 0 && l.size+more > l.Bytes) || (l.Age > 0 && l.now().Sub(l.created) >= l.Age)
}

// rotate sets the file aside under a name with the time and begins a new one.
func (l *File) rotate() error {
	ext := filepath.Ext(l.path)
	aside := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(l.path, ext), l.now().UnixNano(), ext)
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close the log file: %w", err)
	}
	if err := os.Rename(l.path, aside); err != nil {
		return errors.Join(fmt.Errorf("set the log file aside: %w", err), l.open())
	}
	if err := l.open(); err != nil {
		return err
	}
	return l.prune()
}

// prune removes the oldest files that were set aside.
func (l *File) prune() error {
	if l.Keep == 0 {
		return nil
	}
	ext := filepath.Ext(l.path)
	stem := strings.TrimSuffix(filepath.Base(l.path), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(l.path)) // by name: the same number of digits, so by time
	if err != nil {
		return fmt.Errorf("list old log files: %w", err)
	}
	var old []string
	for _, entry := range entries {
		when, ok := strings.CutPrefix(strings.TrimSuffix(entry.Name(), ext), stem)
		if _, err := strconv.ParseInt(when, 10, 64); ok && err == nil && strings.HasSuffix(entry.Name(), ext) {
			old = append(old, filepath.Join(filepath.Dir(l.path), entry.Name()))
		}
	}
	for len(old) > max(l.Keep, 0) {
		if err := os.Remove(old[0]); err != nil {
			return fmt.Errorf("remove an old log file: %w", err)
		}
		old = old[1:]
	}
	return nil
}

// Close closes the file.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

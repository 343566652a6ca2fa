//go:build linux

package proctest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// BinaryVar names the environment variable with the program under test. If it
	// is set, nothing is built.
	BinaryVar = "LEGATE_BINARY"
	// parallel is how many tests run at once: they wait more than they work.
	parallel = "6"
)

// Main builds the program, runs the tests of a package and returns the exit
// code: the body of a TestMain.
func Main(m *testing.M, pkg string) int {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, "set the number of parallel tests:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "legate-proctest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(build(dir, pkg), sweep()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir, pkg string) error {
	if os.Getenv(BinaryVar) != "" {
		return nil
	}
	file := filepath.Join(dir, "legate")
	out, err := exec.Command("go", "build", "-o", file, pkg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	if err := settle(file); err != nil {
		return err
	}
	return os.Setenv(BinaryVar, file)
}

// settle makes a file one that was installed before: it is on disk, and the
// kernel reads it from there as it is needed. Of one that was just written it maps
// large pieces into whoever runs it, and shows them as that process's memory.
func settle(file string) (err error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the program: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the program to disk: %w", err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("forget the pages of the program: %w", err)
	}
	return nil
}

// sweep removes the networks of test runs that were killed.
func sweep() error {
	entries, err := filepath.Glob(filepath.Join(netnsDir, netnsPrefix+"*"))
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	for _, entry := range entries {
		name := filepath.Base(entry)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, netnsPrefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); err == nil {
			continue
		}
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			return fmt.Errorf("remove the abandoned network %s: %w: %s", name, err, out)
		}
	}
	return nil
}

package agentcmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// pidFile holds the process ID while the agent runs, and a lock with it: a number alone
// may be that of another program after a restart of the machine.
type pidFile struct {
	path string
	file *os.File
}

const (
	// longestPid is more than a process ID has.
	longestPid = 32
	// pidTries is how often a file that is replaced meanwhile is looked at again.
	pidTries = 10
)

// errReplaced says that the file is another one by now.
var errReplaced = errors.New("the file was replaced meanwhile")

// claimPid writes the process ID; "" writes none.
func claimPid(path string) (*pidFile, error) {
	if path == "" {
		return nil, nil
	}
	var err error
	for range pidTries {
		var p *pidFile
		if p, err = tryPid(path); !errors.Is(err, errReplaced) {
			return p, err
		}
	}
	return nil, fmt.Errorf("write the process ID (pid_file): %s: %w", path, err)
}

// tryPid locks the file that is there, if there is one, and puts another in its place.
func tryPid(path string) (*pidFile, error) {
	old, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write the process ID (pid_file): %w", err)
	}
	defer old.Close()
	if err := syscall.Flock(int(old.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, heldPid(old, path, err)
	}
	if !isAt(old, path) {
		return nil, errReplaced
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return nil, fmt.Errorf("write the process ID (pid_file): %w", err)
	}
	_, errWrite := file.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	err = errors.Join(errWrite, file.Chmod(0o644), syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the process ID (pid_file): %w", err), os.Remove(file.Name()), file.Close())
	}
	return &pidFile{path, file}, nil
}

// heldPid says who has the file.
func heldPid(file *os.File, path string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock the file of the process ID (pid_file): %s: %w", path, err)
	}
	b, _ := io.ReadAll(io.LimitReader(file, longestPid)) // one that cannot be read says nothing
	who := "another agent"
	if pid := strings.TrimSpace(string(b)); pid != "" {
		who += " with process ID " + pid
	}
	return fmt.Errorf("pid_file: %s is held by %s that runs: end it first, or name another file", path, who)
}

// isAt reports whether the file is the one that a path names.
func isAt(file *os.File, path string) bool {
	own, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(own, there)
}

// release removes the file, if it is still this one.
func (p *pidFile) release() {
	if p == nil {
		return
	}
	if isAt(p.file, p.path) {
		_ = os.Remove(p.path) // one left behind is taken next time: nobody locks it
	}
	_ = p.file.Close() // and so is the lock
}

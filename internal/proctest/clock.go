//go:build linux

package proctest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// SetClock has the wall clock of a process go ahead of the machine's, or behind it. Its
// monotonic clock is left alone, as it is when a clock is set. A process that was
// started a moment ago has hardly seen the right time.
//
// A Go program reads the clock in a page that the kernel maps into each process. This
// writes a function of its own into the page of that one process.
func (p *Process) SetClock(ahead time.Duration) {
	p.t.Helper()
	if runtime.GOARCH != "amd64" {
		p.t.Skip("the clock of a process is set on amd64 only")
	}
	err := errNoPage
	for end := time.Now().Add(patchTimeout); errors.Is(err, errNoPage) && time.Now().Before(end); {
		err = setClock(p.Pid(), ahead) // a process that begins does not have it yet
	}
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			p.t.Skipf("the memory of a process cannot be written here: %v", err)
		}
		p.t.Fatalf("set the clock of %s: %v", p.Name, err)
	}
}

// Machine code: read the clock by a system call; if it is the wall clock (0), add seconds.
const (
	readClock = "\xb8\xe4\x00\x00\x00\x0f\x05\x85\xff\x75\x0d\x48\xb9" // mov eax, 228; syscall; test edi, edi; jne end; mov rcx, …
	addToIt   = "\x48\x01\x0e\xc3"                                     // add [rsi], rcx; end: ret
	jump      = 0xe9
	jumpSize  = 5
)

// patchTimeout is how long a process may take to have its page.
const patchTimeout = time.Second

var errNoPage = errors.New("the process has no page of the kernel")

func setClock(pid int, ahead time.Duration) (err error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mem.Close()) }()
	at, page, err := kernelPage(pid, mem)
	if err != nil {
		return err
	}
	entry, err := clockIn(page)
	if err != nil {
		return err
	}
	code := append(binary.LittleEndian.AppendUint64([]byte(readClock), uint64(ahead/time.Second)), addToIt...)
	free := len(page) - len(code)
	if old := page[free:]; !bytes.Equal(old[:len(readClock)], []byte(readClock)) && len(bytes.Trim(old, "\x00")) > 0 {
		return errors.New("the page has no room at its end")
	}
	if _, err := mem.WriteAt(code, at+int64(free)); err != nil {
		return err
	}
	call := binary.LittleEndian.AppendUint32([]byte{jump}, uint32(int32(free-entry-jumpSize)))
	_, err = mem.WriteAt(call, at+int64(entry))
	return err
}

// kernelPage is where the page is, and what is in it.
func kernelPage(pid int, mem io.ReaderAt) (at int64, page []byte, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, nil, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		var end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &at, &end); err != nil {
			return 0, nil, err
		}
		page = make([]byte, end-at)
		_, err = mem.ReadAt(page, at)
		return at, page, err
	}
	return 0, nil, errNoPage
}

// clockIn is where the function begins that reads a clock.
func clockIn(page []byte) (int, error) {
	f, err := elf.NewFile(bytes.NewReader(page))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Value < uint64(len(page)) {
			return int(s.Value), nil
		}
	}
	return 0, errors.New("the page has no function that reads a clock")
}

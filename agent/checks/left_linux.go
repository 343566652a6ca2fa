package checks

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// huntTime and huntRounds bound the search for what a killed script left: one
	// that forks faster than it is found out is told of, not chased for ever.
	huntTime   = 500 * time.Millisecond
	huntRounds = 64
	huntPause  = 5 * time.Millisecond
	// maxEnvironment is how many bytes of a process' environment are read.
	maxEnvironment = 256 << 10
	// maxProcesses is how many entries of /proc are looked at.
	maxProcesses = 64 << 10
	// fewNumbers are tried one by one; above it /proc is listed.
	fewNumbers = 512
)

// hunt kills all processes that carry the mark until there are none, and reports
// whether it got so far. Two looks in a row must find none: a process that begins
// another program has no environment for a moment.
func hunt(mark string, whole bool) bool {
	end := time.Now().Add(huntTime)
	none := 0
	for range huntRounds {
		found := false
		for _, pid := range processes() {
			found = killIf(pid, mark, whole) || found
		}
		if none++; found {
			none = 0
		}
		if none == 2 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		<-time.After(huntPause)
	}
	return false
}

// killIf kills the process if it carries the mark. The process is held before it
// is looked at: another one that comes under its number is not hit.
func killIf(pid int, mark string, whole bool) bool {
	if !carries(pid, mark, whole) { // most do not
		return false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }()
	return carries(pid, mark, whole) && p.Kill() == nil
}

// carries reports whether the process was started with the mark in its
// environment: the whole variable, or its beginning. What may not be read may not
// be killed either.
func carries(pid int, mark string, whole bool) bool {
	if !strings.HasPrefix(mark, runVariable+"=") { // every environment begins with nothing
		return false
	}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	env, err := io.ReadAll(io.LimitReader(f, maxEnvironment))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == mark || !whole && bytes.HasPrefix(v, []byte(mark)) {
			return true
		}
	}
	return false
}

// processes are all but this one.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(maxProcesses) // what was read before an error counts
	own := os.Getpid()
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != own {
			pids = append(pids, pid)
		}
	}
	return pids
}

// startedSince are the processes that may have been started since the first of a
// group and are not in it: those with the numbers behind it, up to the last one
// given out, which may have begun again at the bottom.
func startedSince(first int) []int {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	fields := bytes.Fields(text)
	if len(fields) == 0 {
		return nil
	}
	last, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil {
		return nil
	}
	var pids []int
	add := func(pid int) {
		if group, err := syscall.Getpgid(pid); err == nil && group != first {
			pids = append(pids, pid)
		}
	}
	if first < last && last-first <= fewNumbers {
		for pid := first + 1; pid <= last; pid++ {
			add(pid)
		}
		return pids
	}
	for _, pid := range processes() {
		if pid > first && (pid <= last || last < first) || last < first && pid <= last {
			add(pid)
		}
	}
	return pids
}

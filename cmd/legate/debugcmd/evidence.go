package debugcmd

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of what is read of an archive, which may come from anybody. Nothing of
// it is written anywhere.
const (
	maxArchive      = 8 * maxCapture // in bytes, unpacked
	maxArchiveFiles = 10_000
	maxDocument     = 32 << 20 // of a file that is read as a whole
	maxLogLine      = 1 << 20
	maxEvents       = 5_000 // kept of a kind: the newest
	maxKinds        = 2_000 // of complaints, told apart
	maxSeenLines    = 500_000
	maxIndex        = 4 << 20       // in bytes
	maxKept         = 4 * shownText // bytes of a text that is kept
	maxLinks        = 1_000         // datacenters, and members, of a moment
)

// evidence is what an archive holds, as far as the summary needs it.
type evidence struct {
	index         debugIndex
	moments       []moment
	first, last   exposition
	leaders, cuts []logLine
	members       map[string]*flapping
	complaints    map[complaintKey]*complaint
	goroutines    []byte // the newest profile
	heap          []byte
	lines, odd    int // of logs: read, and those of no known form

	broken error // where the archive is cut short
	left   int64 // bytes that are still read of an archive
	seed   maphash.Seed
	seen   map[uint64]struct{} // the same line may stand in several files
}

// flapping is what gossip said of a member.
type flapping struct {
	failed, back int
	why          string
	absent       string // how long it was gone the last time
}

type complaintKey struct{ level, component, message string }

// complaint is a kind of warnings or errors.
type complaint struct {
	complaintKey
	count       int
	first, last logLine
}

// readEvidence reads an archive, or a directory, of debug.
func readEvidence(from string) (*evidence, error) {
	e := &evidence{left: maxArchive, members: map[string]*flapping{}, complaints: map[complaintKey]*complaint{}, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		err = e.readDir(from)
	} else {
		err = e.readArchive(from)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && (len(e.moments) > 0 || e.lines > e.odd || e.heap != nil || e.goroutines != nil) {
		e.broken, err = err, nil // what is there may be all that there is
	}
	if err != nil {
		return nil, err
	}
	if e.broken == nil && e.index.Begin.IsZero() {
		return nil, errors.New("there is no index.json: it is not of legate debug, or was broken off")
	}
	// Of an agent that was restarted, all counters began anew.
	if began := e.last.value(startTime); began > 0 && began != e.first.value(startTime) {
		e.first = exposition{}
	}
	return e, nil
}

func (e *evidence) readDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		file, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		if err := errors.Join(e.take(entry.Name(), io.LimitReader(file, maxCapture)), file.Close()); err != nil {
			return fmt.Errorf("read %s: %w", entry.Name(), err)
		}
	}
	return nil
}

func (e *evidence) readArchive(from string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	zip, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return fmt.Errorf("it is no archive of debug: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(zip, maxArchive))
	for range maxArchiveFiles {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Base(header.Name)
		// A sparse file is longer than what it takes in the archive.
		within := &io.LimitedReader{R: archive, N: min(maxCapture, e.left)}
		before := within.N
		if err := e.take(name, within); err != nil {
			return fmt.Errorf("read %s: %w", clean(name), err)
		}
		if e.left -= before - within.N; e.left <= 0 {
			return fmt.Errorf("the archive has more than %d MB", maxArchive>>20)
		}
	}
	return fmt.Errorf("the archive has more than %d files", maxArchiveFiles)
}

// take reads one file, by its name.
func (e *evidence) take(name string, from io.Reader) (err error) {
	whole := func() ([]byte, error) { return io.ReadAll(io.LimitReader(from, maxDocument)) }
	switch {
	case name == "index.json":
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(from, maxIndex)); err == nil {
			err = json.Unmarshal(text, &e.index)
		}
	case name == timelineFile:
		return eachLine(from, func(line []byte) {
			var m moment
			if json.Unmarshal(line, &m) == nil {
				e.addMoment(m)
			}
		})
	case name == firstExposition:
		e.first, err = readExposition(from)
	case name == lastExposition:
		e.last, err = readExposition(from)
	case strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "file-"): // log_file may have any name
		return eachLine(from, e.logLine)
	case strings.HasPrefix(name, "goroutine-"):
		e.goroutines, err = whole()
	case strings.HasPrefix(name, "heap-"):
		e.heap, err = whole()
	}
	return err
}

// eachLine calls f with each line that is not too long.
func eachLine(from io.Reader, f func([]byte)) error {
	r := bufio.NewReaderSize(from, maxLogLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 && err != bufio.ErrBufferFull {
			f(bytes.TrimSpace(line))
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that is too long
			_, err = r.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// newest drops what is more than maxEvents.
func newest[T any](list []T) []T {
	if len(list) > 2*maxEvents {
		return append(list[:0:0], list[len(list)-maxEvents:]...)
	}
	return list
}

// logLine takes what the summary needs out of a line of a log.
func (e *evidence) logLine(text []byte) {
	if len(text) == 0 {
		return
	}
	e.lines++
	l, ok := parseLine(string(text))
	if !ok {
		e.odd++
		return
	}
	leaders := isOneOf(l.message, "a leader is known", "no leader is known", "this server begins an election", "this server won the election", "this server lost the election")
	cut := isOneOf(l.message, "datacenter is cut off: none of its servers answers", "datacenter is reached again")
	member := isOneOf(l.message, "member failed", "member is back")
	bad := isOneOf(l.level, "WARN", "ERROR", "ERR")
	if !leaders && !cut && !member && !bad || e.again(l) {
		return
	}
	l = l.kept()
	switch {
	case leaders:
		e.leaders = newest(append(e.leaders, l))
	case cut:
		e.cuts = newest(append(e.cuts, l))
	case member:
		e.member(l)
	case bad:
		e.complain(l)
	}
}

// addMoment keeps what the summary needs of a moment.
func (e *evidence) addMoment(m moment) {
	term := kept(fmt.Sprint(cmp.Or(m.Stats["raft"]["term"], any("?"))))
	m.Stats = map[string]map[string]any{"raft": {"term": term}}
	m.Leader = kept(m.Leader)
	m.Federation = slices.Clone(m.Federation[:min(len(m.Federation), maxLinks)])
	for i := range m.Federation {
		l := &m.Federation[i]
		l.Datacenter, l.State, l.Reason, l.Breaker, l.Leader = kept(l.Datacenter), kept(l.State), kept(l.Reason), kept(l.Breaker), ""
	}
	m.Unknown = slices.Clone(m.Unknown[:min(len(m.Unknown), shownRows)])
	for i := range m.Unknown {
		m.Unknown[i] = kept(m.Unknown[i])
	}
	if n := len(e.moments); n > 0 { // only how it ends is told of members
		e.moments[n-1].Members, e.moments[n-1].WAN = nil, nil
	}
	e.moments = newest(append(e.moments, m))
}

// kept is a text, or its begin, that holds no longer one in memory.
func kept(s string) string { return strings.Clone(s[:min(len(s), maxKept)]) }

// kept is the line with what the summary may tell of it.
func (l logLine) kept() logLine {
	attrs := map[string]string{}
	for _, name := range []string{"term", "leader", "was", "why", "last_contact", "absent", "took", "error", "peer_datacenter", "pool", "member"} {
		if v, ok := l.attrs[name]; ok {
			attrs[name] = kept(v)
		}
	}
	return logLine{at: l.at, level: kept(l.level), component: kept(l.component), node: kept(l.node), message: kept(l.message), attrs: attrs}
}

// again says whether the line was there before.
func (e *evidence) again(l logLine) bool {
	hash := maphash.String(e.seed, fmt.Sprint(l.at.UnixMilli(), l.node, l.component, l.message, l.attrs["member"], l.attrs["error"], l.attrs["peer_datacenter"], l.attrs["pool"]))
	if _, ok := e.seen[hash]; ok {
		return true
	}
	if len(e.seen) < maxSeenLines {
		e.seen[hash] = struct{}{}
	}
	return false
}

func (e *evidence) member(l logLine) {
	name := l.attrs["pool"] + " " + l.attrs["member"]
	m := e.members[name]
	if m == nil {
		if len(e.members) >= maxKinds {
			return
		}
		m = &flapping{}
		e.members[name] = m
	}
	if l.message == "member failed" {
		m.failed++
		m.why = l.attrs["why"]
		return
	}
	m.back++
	m.absent = short(l.duration("absent"))
}

func (e *evidence) complain(l logLine) {
	key := complaintKey{l.level, l.component, l.message}
	c := e.complaints[key]
	if c == nil {
		if len(e.complaints) >= maxKinds {
			return
		}
		c = &complaint{complaintKey: key, first: l, last: l}
		e.complaints[key] = c
	}
	c.count++
	if l.at.Before(c.first.at) {
		c.first = l
	}
	if !l.at.Before(c.last.at) {
		c.last = l
	}
}

func isOneOf(s string, of ...string) bool {
	for _, o := range of {
		if s == o {
			return true
		}
	}
	return false
}

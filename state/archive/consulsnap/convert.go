package consulsnap

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/archive/pack"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// program is what Report.Program says.
const program = "Consul"

// maxKept bounds what is remembered of a snapshot while it is read, in bytes: the IDs
// of sessions, then the names of services with their tags.
const maxKept = 512 << 20

// Inspect reads a snapshot whole and reports. key is told of each key and how
// many bytes its record has, unless it is nil. Errors are as those of
// archive.Verify.
func Inspect(in io.Reader, key func(key string, size int)) (*Report, error) {
	return read(in, &converter{key: key, rows: func([]storage.Row) error { return nil }})
}

// Convert makes an archive of what is taken over. in is read twice; rows that do
// not fit into memory are sorted in files in the folder, which are gone when it
// returns. The archive is whole only if there is no error.
func Convert(in io.ReadSeeker, out io.Writer, folder string) (_ *Report, err error) {
	first := &converter{rows: func([]storage.Row) error { return nil }, sessions: map[string]string{}}
	if _, err := read(in, first); err != nil {
		return nil, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	sorted := &sorter{folder: folder}
	defer func() { err = errors.Join(err, sorted.close()) }()
	second := &converter{rows: sorted.add, held: first.sessions, names: &catalog.Names{}}
	report, err := read(in, second)
	if err != nil {
		return nil, err
	}
	index := max(report.LastIndex, second.newest)
	rows, err := second.names.Rows(index)
	if err == nil {
		err = sorted.add(rows)
	}
	if err == nil && second.bootstrapped > 0 {
		if rows, err = acl.StartRows(&acl.Start{Bootstrapped: second.bootstrapped}, index); err == nil {
			err = sorted.add(rows)
		}
	}
	if err != nil {
		return nil, err
	}
	_, err = archive.Write(out, archive.Meta{Version: strings.TrimSpace(report.Program + " " + report.Version), Datacenter: report.Datacenter,
		Index: index, RaftIndex: report.Index, Term: report.Term, Time: report.Time}, sorted.all())
	return report, err
}

// Replace is Convert in place: the file has the archive then, and is at its
// beginning. After an error its content is neither.
func Replace(file *os.File, folder string) (_ *Report, err error) {
	scratch, err := os.CreateTemp(folder, "restore-*.archive")
	if err != nil {
		return nil, fmt.Errorf("make room for a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, scratch.Close(), os.Remove(scratch.Name())) }()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	report, err := Convert(file, scratch, folder)
	if err != nil {
		return nil, err
	}
	if err := replace(file, scratch); err != nil {
		return nil, fmt.Errorf("make an archive of the snapshot: %w", err)
	}
	return report, nil
}

// replace gives a file the content of another one.
func replace(file, by *os.File) error {
	if _, err := by.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(file, by)
	if err == nil {
		err = file.Truncate(n)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	return err
}

// read goes through a snapshot.
func read(in io.Reader, c *converter) (*Report, error) {
	c.report, c.tally = &Report{Program: program}, newTally()
	err := pack.Read(in, func(f *pack.Contents) error {
		var m pack.Meta
		if err := json.Unmarshal(f.Meta, &m); err != nil {
			return fmt.Errorf("%w: its description is malformed: %w", pack.ErrInvalid, err)
		}
		r := c.report
		r.ID, r.Index, r.Term, r.Size, r.Time = m.ID, m.Index, m.Term, f.Size, m.Made()
		if r.Time.IsZero() {
			r.Time = f.Time.UTC()
		}
		err := stream(f.State, &r.LastIndex, c.record)
		c.report.Unlocked = c.unlocked
		return err
	}, pack.StateName)
	if c.failed != nil {
		return nil, c.failed
	}
	if err != nil {
		return nil, err
	}
	c.tally.report(c.report)
	return c.report, nil
}

// converter makes rows of records.
type converter struct {
	report *Report
	tally  *tally
	key    func(string, int)
	rows   func([]storage.Row) error
	failed error // of rows
	names  *catalog.Names
	// sessions remembers IDs as they are written, by their lower-case form; held
	// are those of a first pass.
	sessions, held map[string]string
	unlocked       uint64
	newest         uint64 // index of a record
	kept, limit    int    // bytes of sessions; maxKept, if 0
	node           string // of the last registration
	bootstrapped   uint64 // index at which the last management token was made; 0 for none
}

// tenant is what records of other namespaces, partitions and peers have.
type tenant struct{ Namespace, Partition, PeerName string }

// foreign is the kind of a record that is no one of this datacenter's.
func (t tenant) foreign() (kind, bool) {
	own := func(name string) bool { return name == "" || name == "default" }
	switch {
	case t.PeerName != "":
		return kind{"records of peers", left, whyPeer}, true
	case !own(t.Namespace) || !own(t.Partition):
		return kind{"records of other namespaces and partitions", left, whyTenant}, true
	}
	return kind{}, false
}

// record takes one that came. Errors say that it is not of the form that it must
// have.
func (c *converter) record(r *record) error {
	if r.kind.fate != taken {
		c.tally.add(r.kind, r.size, func() string { return nameOf(r) })
		return nil
	}
	var t tenant
	err := error(nil)
	if r.typ != typeCoordinates {
		err = decode(r.body, &t, nil)
	}
	if k, foreign := t.foreign(); err == nil && foreign {
		c.tally.add(k, r.size, nil)
		return nil
	}
	if err == nil {
		err = c.take(r)
	}
	if err != nil {
		return fmt.Errorf("%w: a record of type %d (%s): %w", pack.ErrInvalid, r.typ, r.kind.name, err)
	}
	return nil
}

func (c *converter) take(r *record) error {
	switch r.typ {
	case typeRegister:
		return c.register(r)
	case typeKV:
		return c.entry(r)
	case typeSession:
		return c.session(r)
	case typeCoordinates:
		return c.coordinates(r)
	case typeQuery:
		return c.query(r)
	case typeAutopilot:
		return c.autopilot(r)
	}
	return c.access(r)
}

func (c *converter) mayKeep() int { return cmp.Or(c.limit, maxKept) }

// lost tells of fields that are not taken over.
func (c *converter) lost(r *record, known ...string) func(string) {
	return func(path string) {
		for _, k := range known {
			if path == k {
				return
			}
		}
		c.tally.field(r.kind.name + ": " + path)
	}
}

// indexed gives a record without indexes, as early versions wrote some, those of
// the snapshot.
func (c *converter) indexed(create, modify *uint64) {
	if *modify == 0 {
		*modify = c.report.LastIndex
	}
	if *create == 0 {
		*create = *modify
	}
	c.newest = max(c.newest, *modify)
}

// put hands rows on and counts their record.
func (c *converter) put(name string, size int64, rows []storage.Row, err error) error {
	if err != nil {
		return err
	}
	c.tally.add(kind{name: name, fate: taken}, size, nil)
	c.failed = c.rows(rows)
	return c.failed
}

func (c *converter) entry(r *record) error {
	var e struct {
		kv.Entry
		tenant
	}
	if err := decode(r.body, &e, c.lost(r)); err != nil {
		return err
	}
	if e.Session != "" && c.held != nil {
		id, there := c.held[strings.ToLower(e.Session)]
		if !there {
			c.unlocked++
		}
		e.Session = id
	}
	c.indexed(&e.CreateIndex, &e.ModifyIndex)
	if c.key != nil {
		c.key(e.Key, int(r.size))
	}
	rows, err := kv.Rows(&e.Entry)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) session(r *record) error {
	var s struct {
		session.Session
		tenant
		Checks []string // what NodeChecks was called once
	}
	if err := decode(r.body, &s, c.lost(r)); err != nil {
		return err
	}
	if len(s.NodeChecks) == 0 && len(s.ServiceChecks) == 0 {
		s.NodeChecks = s.Checks
	}
	if c.sessions != nil {
		if c.kept += 2*len(s.ID) + 64; c.kept > c.mayKeep() {
			return fmt.Errorf("there are more sessions than %d bytes have room for", c.mayKeep())
		}
		c.sessions[strings.ToLower(s.ID)] = s.ID
	}
	c.indexed(&s.CreateIndex, &s.ModifyIndex)
	rows, err := session.Rows(&s.Session)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) query(r *record) error {
	var q query.Query
	if err := decode(r.body, &q, c.lost(r)); err != nil {
		return err
	}
	c.indexed(&q.CreateIndex, &q.ModifyIndex)
	rows, err := query.Rows(&q)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) autopilot(r *record) error {
	var a autopilot.Config
	if err := decode(r.body, &a, c.lost(r)); err != nil {
		return err
	}
	if err := a.Check(); err != nil {
		c.tally.add(kind{"broken autopilot configurations", left, err.Error()}, r.size, nil)
		return nil
	}
	c.indexed(&a.CreateIndex, &a.ModifyIndex)
	rows, err := autopilot.Rows(&a)
	return c.put(r.kind.name, r.size, rows, err)
}

func (c *converter) coordinates(r *record) error {
	var list []struct {
		coordinate.Entry
		tenant
	}
	if err := decode(r.body, &list, c.lost(r)); err != nil {
		return err
	}
	for i := range list {
		if k, foreign := list[i].foreign(); foreign {
			c.tally.add(k, 0, nil)
			continue
		}
		if rtt.Validate(list[i].Coord.Serf()) != nil {
			c.tally.add(kind{"broken coordinates", left, "they say nothing"}, 0, func() string { return list[i].Node })
			continue
		}
		rows, err := coordinate.Rows(&list[i].Entry, c.report.LastIndex)
		if err := c.put(r.kind.name, r.size/int64(len(list)), rows, err); err != nil {
			return err
		}
	}
	return nil
}

package storage

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/progress"
	"github.com/legate-project/legate/storage/staging"
)

// A state is one instance when it is sent: what is staged is packed into it, and unpacked
// into one of its own by who takes it over. Versions that staged beside the tables left the
// same on their disks, and send it.

// findStaged opens the instance of what is staged, and makes it of what is packed.
func (s *State) findStaged(in *instance, m *meta) (*instance, error) {
	row, err := staging.Get(in.Engine, []byte{staging.Space})
	if err != nil || row == nil {
		return nil, err
	}
	note, err := staging.Get(in.Engine, staging.NoteKey())
	if err != nil {
		return nil, err
	}
	if note != nil {
		n, err := progress.DecodeNote(note)
		if err != nil {
			return nil, err
		}
		s.names.Skip(n.Instance)
		return s.openStaging(n.Instance, "") // one that is made here has lost what it had
	}
	p, err := progress.Decode(row)
	if err != nil {
		return nil, err
	}
	to, err := s.openStaging(s.names.Next(), string(p.ID))
	if err != nil {
		return nil, err
	}
	err = staging.Unpack(in.Engine, func(rows []Row) error { return s.ingest(to, [][]Row{rows}) }, func(b *pebble.Batch) error {
		m.staging = true
		n := progress.Note{Instance: to.name}
		return errors.Join(b.Set(staging.NoteKey(), n.Encode(), nil), b.Set(metaKey(), m.encode(), nil))
	})
	if err != nil {
		return nil, fmt.Errorf("unpack what is staged: %w", errors.Join(err, to.Engine.Close()))
	}
	return to, nil
}

// pack writes the rows that are staged into the checkpoint in dir.
func (s *State) pack(dir string, rows pebble.Reader) (err error) {
	e, err := engine.Open(dir, s.layout(), engine.NewFault(s.opts.Log, nil), s.series) // a bad checkpoint is not a bad disk
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	m, err := readMeta(e.DB, metaKey())
	if err != nil || !m.staging {
		return err
	}
	m.staging = false
	return staging.Pack(e, rows, func() string { return s.opts.FS.PathJoin(dir, s.names.Scratch("pack")) }, func(b *pebble.Batch) error {
		return b.Set(metaKey(), m.encode(), nil)
	})
}

// Package disk keeps one value for each ID of a folder in a file of its own,
// which is replaced whole or not at all. Changes of several files are carried out
// in the order in which they are asked for. It knows nothing of what it keeps.
package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Unfinished begins the names of files that are being written.
const Unfinished = ".new-"

// Disk keeps values below one directory. What may take long or find the disk
// full, writing the bytes, is done beside the file that they are to replace, by
// many at once and before anything changes. Then the files change in the order
// in which the state does. Those who wait for a folder share its flush.
type Disk struct {
	// SyncDir makes the names in a directory durable.
	SyncDir func(dir string) error

	dir     string
	flushes map[string]*flush
}

// New returns the disk below a directory; an empty one keeps nothing. What is in
// the durable folders is not lost with the power, unlike what is in others.
func New(dir string, durable ...string) *Disk {
	d := &Disk{dir: dir, flushes: map[string]*flush{}, SyncDir: SyncDir}
	for _, folder := range durable {
		d.flushes[folder] = &flush{sync: func() error { return d.SyncDir(filepath.Join(dir, folder)) }}
	}
	return d
}

// Path of the file of an ID, which may hold any bytes.
func (d *Disk) Path(folder, id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(d.dir, folder, hex.EncodeToString(sum[:16])+".json")
}

// Writes are what one change of the state writes and removes.
type Writes struct {
	disk *Disk
	list []write
}

// write replaces a file or, without bytes, removes it.
type write struct {
	folder, id string
	name       string
	bytes      []byte
	changed    bool // it was carried out, and was not in vain
}

// Begin returns writes that do nothing yet.
func (d *Disk) Begin() *Writes { return &Writes{disk: d} }

// Keep writes a file, whole or not at all. What a change keeps comes before what
// it forgets, and last among that what the rest is nothing without.
func (w *Writes) Keep(folder, id string, v any) error {
	if w.disk.dir == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keep %s of %q: %w", folder, id, err)
	}
	w.list = append(w.list, write{folder: folder, id: id, name: w.disk.Path(folder, id), bytes: b})
	return nil
}

// Forget removes a file, if there is one.
func (w *Writes) Forget(folder, id string) {
	if w.disk.dir != "" {
		w.list = append(w.list, write{folder: folder, id: id, name: w.disk.Path(folder, id)})
	}
}

// prepared are bytes that stand beside the file that they are to replace.
type prepared struct {
	bytes []byte
	tmp   string
}

// Drafts are what is prepared for one change, by the file's name.
type Drafts map[string]prepared

// Ready reports whether all that is to be written is prepared.
func (d Drafts) Ready(w *Writes) bool {
	for i := range w.list {
		if one := &w.list[i]; one.bytes != nil && !d.holds(one) {
			return false
		}
	}
	return true
}

func (d Drafts) holds(one *write) bool {
	p, ok := d[one.name]
	return ok && bytes.Equal(p.bytes, one.bytes)
}

// Prepare writes what is not yet prepared.
func (d Drafts) Prepare(w *Writes) error {
	for i := range w.list {
		one := &w.list[i]
		if one.bytes == nil || d.holds(one) {
			continue
		}
		tmp, err := w.disk.draft(one)
		if err != nil {
			return one.fault(err)
		}
		if old, ok := d[one.name]; ok {
			err = os.Remove(old.tmp)
		}
		d[one.name] = prepared{bytes: one.bytes, tmp: tmp}
		if err != nil {
			return one.fault(err)
		}
	}
	return nil
}

// Discard removes what was prepared and not used.
func (d Drafts) Discard() error {
	var errs []error
	for _, p := range d {
		errs = append(errs, os.Remove(p.tmp))
	}
	return errors.Join(errs...)
}

// CarryOut makes the files those of the change. It reports whether they are:
// not if the first of them, or one that is kept, did not become so. What then
// has changed says nothing by itself. When done, an error tells of files that
// should have gone.
func (w *Writes) CarryOut(d Drafts) (done bool, err error) {
	var errs []error
	for i := range w.list {
		one := &w.list[i]
		if one.bytes != nil {
			err = os.Rename(d[one.name].tmp, one.name)
			if err == nil {
				delete(d, one.name)
			}
		} else {
			err = os.Remove(one.name)
		}
		one.changed = err == nil
		if err == nil || one.bytes == nil && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		errs = append(errs, one.fault(err))
		if i == 0 || one.bytes != nil {
			return false, errors.Join(errs...)
		}
	}
	return true, errors.Join(errs...)
}

// Flush returns when the change is durable.
func (w *Writes) Flush() error {
	var errs []error
	flushed := map[string]bool{}
	for i := range w.list {
		folder := w.list[i].folder
		if f := w.disk.flushes[folder]; f != nil && w.list[i].changed && !flushed[folder] {
			flushed[folder] = true
			errs = append(errs, f.wait())
		}
	}
	return errors.Join(errs...)
}

func (one *write) fault(err error) error {
	return fmt.Errorf("keep %s of %q: %w", one.folder, one.id, err)
}

// draft writes the bytes beside the file that they are to replace.
func (d *Disk) draft(one *write) (string, error) {
	dir := filepath.Dir(one.name)
	tmp, err := os.CreateTemp(dir, Unfinished+"*")
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolder(one.folder); err != nil {
			return "", err
		}
		tmp, err = os.CreateTemp(dir, Unfinished+"*")
	}
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(one.bytes)
	if err == nil && d.flushes[one.folder] != nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return "", errors.Join(err, os.Remove(tmp.Name()))
	}
	return tmp.Name(), nil
}

// makeFolder makes a folder durably: a file is lost with the folder that it is
// in.
func (d *Disk) makeFolder(folder string) error {
	at := d.dir
	for part := range strings.SplitSeq(folder, "/") {
		parent := at
		at = filepath.Join(at, part)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		if err := d.SyncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("flush %s: %w", name, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("flush %s: %w", name, err)
	}
	return nil
}

// flush makes the names in a folder durable, once for all who wait at a time.
type flush struct {
	sync func() error
	turn sync.Mutex // held by the one that flushes

	mu   sync.Mutex
	next *flushRound
}

// flushRound is one flush; done is closed after it.
type flushRound struct {
	done chan struct{}
	err  error
}

// wait returns after a flush that began after the call.
func (f *flush) wait() error {
	f.mu.Lock()
	r := f.next
	lead := r == nil
	if lead {
		r = &flushRound{done: make(chan struct{})}
		f.next = r
	}
	f.mu.Unlock()
	if !lead {
		<-r.done
		return r.err
	}
	f.turn.Lock()
	f.mu.Lock()
	f.next = nil // who comes from now on waits for the next
	f.mu.Unlock()
	r.err = f.sync()
	f.turn.Unlock()
	close(r.done)
	return r.err
}

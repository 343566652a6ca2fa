package local

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

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

// disk keeps definitions in one file each. What may take long or find the disk
// full, writing the bytes, is done beside the file that they are to replace, by
// many at once and before anything changes. Then the files change in the order
// in which the state does. Those who wait for a folder share its flush.
type disk struct {
	dir     string // empty keeps nothing
	flushes map[string]*flush
	syncDir func(dir string) error
}

func newDisk(dir string) *disk {
	d := &disk{dir: dir, flushes: map[string]*flush{}, syncDir: syncDir}
	for _, folder := range []string{serviceFolder, checkFolder} {
		d.flushes[folder] = &flush{sync: func() error { return d.syncDir(filepath.Join(dir, folder)) }}
	}
	return d
}

// path of the file of an ID, which may hold any bytes.
func (d *disk) path(folder, id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(d.dir, folder, hex.EncodeToString(sum[:16])+".json")
}

// writes are what one change of the state writes and removes.
type writes struct {
	disk *disk
	list []write
}

// write replaces a file or, without bytes, removes it.
type write struct {
	folder, id string
	name       string
	bytes      []byte
	changed    bool // it was carried out, and was not in vain
}

func (d *disk) begin() *writes { return &writes{disk: d} }

// keep writes a file, whole or not at all. Results and tags may be lost with the
// power, definitions not. What a change keeps comes before what it forgets, and
// last among that what the rest is nothing without.
func (w *writes) keep(folder, id string, k kept) error {
	if w.disk.dir == "" {
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("keep %s of %q: %w", folder, id, err)
	}
	w.list = append(w.list, write{folder: folder, id: id, name: w.disk.path(folder, id), bytes: b})
	return nil
}

// forget removes a file, if there is one.
func (w *writes) forget(folder, id string) {
	if w.disk.dir != "" {
		w.list = append(w.list, write{folder: folder, id: id, name: w.disk.path(folder, id)})
	}
}

// forgetCheck removes what is kept of a check.
func (w *writes) forgetCheck(id string) {
	w.forget(checkFolder, id)
	w.forget(resultFolder, id)
}

// prepared are bytes that stand beside the file that they are to replace.
type prepared struct {
	bytes []byte
	tmp   string
}

// drafts are what is prepared for one change, by the file's name.
type drafts map[string]prepared

// ready reports whether all that is to be written is prepared.
func (d drafts) ready(w *writes) bool {
	for i := range w.list {
		if one := &w.list[i]; one.bytes != nil && !d.holds(one) {
			return false
		}
	}
	return true
}

func (d drafts) holds(one *write) bool {
	p, ok := d[one.name]
	return ok && bytes.Equal(p.bytes, one.bytes)
}

// prepare writes what is not yet prepared.
func (d drafts) prepare(w *writes) error {
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

// discard removes what was prepared and not used.
func (d drafts) discard() error {
	var errs []error
	for _, p := range d {
		errs = append(errs, os.Remove(p.tmp))
	}
	return errors.Join(errs...)
}

// carryOut makes the files those of the change. It reports whether they are:
// not if the first of them, or one that is kept, did not become so. What then
// has changed says nothing by itself. When done, an error tells of files that
// should have gone.
func (w *writes) carryOut(d drafts) (done bool, err error) {
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

// flush returns when the change is durable.
func (w *writes) flush() error {
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
func (d *disk) draft(one *write) (string, error) {
	dir := filepath.Dir(one.name)
	tmp, err := os.CreateTemp(dir, unfinished+"*")
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolder(one.folder); err != nil {
			return "", err
		}
		tmp, err = os.CreateTemp(dir, unfinished+"*")
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
func (d *disk) makeFolder(folder string) error {
	at := d.dir
	for part := range strings.SplitSeq(folder, "/") {
		parent := at
		at = filepath.Join(at, part)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		if err := d.syncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
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

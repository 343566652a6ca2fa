package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

// disk keeps definitions in one file each. Writes are put in order while the
// state is locked and carried out after it is unlocked, so that nobody waits
// for the disk but those whose change it is; what happens to one file happens
// in that order, and those who wait for a folder share its flush.
type disk struct {
	dir     string // empty keeps nothing
	flushes map[string]*flush

	mu    sync.Mutex
	files map[string]*keptFile // with writes under way
}

// keptFile puts the writes of one file in order.
type keptFile struct {
	mu   sync.Mutex
	done uint64 // number of the newest write that was carried out

	last, pending uint64 // number of the newest write, and how many are under way; disk.mu is held
}

func newDisk(dir string) *disk {
	d := &disk{dir: dir, files: map[string]*keptFile{}, flushes: map[string]*flush{}}
	for _, folder := range []string{serviceFolder, checkFolder} {
		d.flushes[folder] = &flush{dir: filepath.Join(dir, folder)}
	}
	return d
}

// path of the file of an ID, which may hold any bytes.
func (d *disk) path(folder, id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(d.dir, folder, hex.EncodeToString(sum[:16])+".json")
}

// writes are what one change of the state writes.
type writes struct {
	disk *disk
	list []write
}

// write replaces a file or, without bytes, removes it.
type write struct {
	folder, id string
	name       string
	bytes      []byte
	number     uint64
	file       *keptFile
}

func (d *disk) begin() *writes { return &writes{disk: d} }

// keep writes a file, whole or not at all. A result may be lost with the
// power, a definition not.
func (w *writes) keep(folder, id string, k kept) error {
	if w.disk.dir == "" {
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("keep %s of %q: %w", folder, id, err)
	}
	w.add(write{folder: folder, id: id, bytes: b})
	return nil
}

// forget removes a file, if there is one.
func (w *writes) forget(folder, id string) {
	if w.disk.dir != "" {
		w.add(write{folder: folder, id: id})
	}
}

func (w *writes) add(one write) {
	one.name = w.disk.path(one.folder, one.id)
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	f := w.disk.files[one.name]
	if f == nil {
		f = &keptFile{}
		w.disk.files[one.name] = f
	}
	f.last++
	f.pending++
	one.file, one.number = f, f.last
	w.list = append(w.list, one)
}

// commit carries the writes out and returns when they are durable.
func (w *writes) commit() error {
	var errs []error
	touched := map[string]bool{}
	for i := range w.list {
		changed, err := w.list[i].do()
		if err != nil {
			errs = append(errs, fmt.Errorf("keep %s of %q: %w", w.list[i].folder, w.list[i].id, err))
		}
		touched[w.list[i].folder] = touched[w.list[i].folder] || changed
		w.disk.done(&w.list[i])
	}
	for folder, changed := range touched {
		if f := w.disk.flushes[folder]; changed && f != nil {
			errs = append(errs, f.wait())
		}
	}
	return errors.Join(errs...)
}

// done forgets the order of a file that nobody writes any more.
func (d *disk) done(one *write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if one.file.pending--; one.file.pending == 0 {
		delete(d.files, one.name)
	}
}

// do carries one write out, unless a newer one of the same file was faster. It
// reports whether the folder is to be flushed.
func (one *write) do() (changed bool, err error) {
	tmp := ""
	if one.bytes != nil {
		if tmp, err = one.prepare(); err != nil {
			return false, err
		}
	}
	one.file.mu.Lock()
	defer one.file.mu.Unlock()
	switch {
	case one.file.done > one.number: // it is flushed by whoever wrote it
		if tmp != "" {
			err = os.Remove(tmp)
		}
		return true, err
	case tmp != "":
		if err := os.Rename(tmp, one.name); err != nil {
			return false, errors.Join(err, os.Remove(tmp))
		}
	default:
		err := os.Remove(one.name)
		if errors.Is(err, fs.ErrNotExist) {
			one.file.done = one.number
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	one.file.done = one.number
	return true, nil
}

// prepare writes the bytes beside the file that they are to replace.
func (one *write) prepare() (string, error) {
	dir := filepath.Dir(one.name)
	tmp, err := os.CreateTemp(dir, unfinished+"*")
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		tmp, err = os.CreateTemp(dir, unfinished+"*")
	}
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(one.bytes)
	if err == nil && one.folder != resultFolder {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return "", errors.Join(err, os.Remove(tmp.Name()))
	}
	return tmp.Name(), nil
}

// flush makes the names in a folder durable, once for all who wait at a time.
type flush struct {
	dir  string
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

func (f *flush) sync() error {
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("flush %s: %w", f.dir, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("flush %s: %w", f.dir, err)
	}
	return nil
}

// Package stream carries a state to a follower: the files of a checkpoint in one stream of
// bytes, each with its checksum.
//
// It promises that what arrives is what was sent, whole and durable, and that no name
// leads out of its directory. It does not know what is in the files.
package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/internal/version"
)

// A state on its way to a follower: the magic, the length of the list (4
// bytes), the list, its xxhash64 (8 bytes), then for each file of the list
// its bytes and their xxhash64. The list is the number of files (4 bytes) and
// for each the length of its name (1 byte), the name, the size (8 bytes).
// Numbers are big endian. The size is known before the first byte is sent, and
// nothing is read twice.
const (
	streamMagic   = "LGT" + string(rune(version.StreamFormat))
	streamHead    = len(streamMagic) + 4
	maxListBytes  = 16 << 20 // 100,000s of tables
	hashBytes     = 8
	maxNameLength = 255
)

// ErrBad says that what comes is damaged or malformed.
var ErrBad = errors.New("consensus: a received state is damaged")

type entry struct {
	name string
	size uint64
}

func encodeList(files []entry) []byte {
	list := binary.BigEndian.AppendUint32(nil, uint32(len(files)))
	for _, f := range files {
		list = append(append(list, byte(len(f.name))), f.name...)
		list = binary.BigEndian.AppendUint64(list, f.size)
	}
	head := binary.BigEndian.AppendUint32([]byte(streamMagic), uint32(len(list)))
	return binary.BigEndian.AppendUint64(append(head, list...), xxhash.Sum64(list))
}

func decodeList(list []byte) ([]entry, error) {
	bad := fmt.Errorf("%w: its list of files is malformed", ErrBad)
	if len(list) < 4 {
		return nil, bad
	}
	count := binary.BigEndian.Uint32(list)
	list = list[4:]
	if uint64(count) > uint64(len(list)/10) {
		return nil, bad
	}
	seen := map[string]bool{}
	files := make([]entry, 0, count)
	for range count {
		if len(list) < 1 || len(list) < 9+int(list[0]) {
			return nil, bad
		}
		n := int(list[0])
		f := entry{name: string(list[1 : 1+n]), size: binary.BigEndian.Uint64(list[1+n:])}
		if !plainName(f.name) || seen[f.name] {
			return nil, fmt.Errorf("%w: the file name %q", ErrBad, f.name)
		}
		seen[f.name] = true
		files = append(files, f)
		list = list[9+n:]
	}
	if len(list) > 0 {
		return nil, bad
	}
	return files, nil
}

// plainName accepts what stays inside its directory on every system.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." &&
		!strings.ContainsAny(name, "/\\:\x00") && path.Base(name) == name
}

// Sender reads a checkpoint as a stream.
type Sender struct {
	fs    vfs.FS
	dir   string
	files []entry // not begun yet
	size  int64   // of the whole stream

	part   io.Reader // what is being read
	file   vfs.File  // open behind part, or nil
	left   uint64    // of file
	digest hash.Hash64
	close  func() error
}

// NewSender reads the files in dir, which it takes over: Close removes it.
func NewSender(fs vfs.FS, dir string) (*Sender, error) {
	s := &Sender{fs: fs, dir: dir, digest: xxhash.New(), close: func() error { return fs.RemoveAll(dir) }}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list a checkpoint: %w", err)
	}
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, fmt.Errorf("list a checkpoint: %w", err)
		}
		if len(name) > maxNameLength || info.IsDir() {
			return nil, fmt.Errorf("list a checkpoint: %q is not a plain file", name)
		}
		s.files = append(s.files, entry{name, uint64(info.Size())})
		s.size += info.Size() + hashBytes
	}
	head := encodeList(s.files)
	s.size += int64(len(head))
	s.part = bytes.NewReader(head)
	return s, nil
}

// Size is how many bytes the whole stream has.
func (s *Sender) Size() int64 { return s.size }

// OnClose has Close do more.
func (s *Sender) OnClose(do func()) {
	remove := s.close
	s.close = func() error { do(); return remove() }
}

// Read implements io.Reader.
func (s *Sender) Read(p []byte) (int, error) {
	for {
		n, err := s.part.Read(p)
		s.left -= min(s.left, uint64(n))
		if n > 0 && (err == nil || errors.Is(err, io.EOF)) {
			return n, nil
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return n, fmt.Errorf("read a checkpoint: %w", err)
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
}

// next goes on to the hash of the file that ended, or to the next file.
func (s *Sender) next() error {
	if s.file != nil {
		if s.left > 0 {
			return fmt.Errorf("read a checkpoint: a file is %d bytes short", s.left)
		}
		err := s.file.Close()
		s.file = nil
		s.part = bytes.NewReader(binary.BigEndian.AppendUint64(nil, s.digest.Sum64()))
		return err
	}
	if len(s.files) == 0 {
		return io.EOF
	}
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, s.files[0].name), vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("read a checkpoint: %w", err)
	}
	s.digest.Reset()
	s.file, s.left = f, s.files[0].size
	s.part = io.TeeReader(io.LimitReader(f, int64(s.left)), s.digest)
	s.files = s.files[1:]
	return nil
}

// Close removes the checkpoint.
func (s *Sender) Close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
		s.file = nil
	}
	return errors.Join(err, s.close())
}

// Receiver writes a stream to a directory as it comes.
type Receiver struct {
	fs     vfs.FS
	dir    string
	stage  func(*Receiver, []byte) (int, error)
	buf    []byte // of a part that is taken as a whole
	files  []entry
	next   int // in files
	file   vfs.File
	left   uint64
	digest hash.Hash64
	done   bool
}

// NewReceiver writes to dir, which it makes.
func NewReceiver(fs vfs.FS, dir string) (*Receiver, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("receive a state: %w", err)
	}
	return &Receiver{fs: fs, dir: dir, stage: (*Receiver).head, digest: xxhash.New()}, nil
}

// Write implements io.Writer.
func (r *Receiver) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		if r.done {
			return written, fmt.Errorf("%w: bytes after its end", ErrBad)
		}
		n, err := r.stage(r, p[written:])
		written += n
		if err != nil {
			return written, fmt.Errorf("receive a state: %w", err)
		}
	}
	return written, nil
}

// gather collects need bytes in buf and says whether they are there. The
// buffer grows with what has come, not with what was announced.
func (r *Receiver) gather(p []byte, need int) (int, bool) {
	n := min(len(p), need-len(r.buf))
	r.buf = append(r.buf, p[:n]...)
	return n, len(r.buf) == need
}

func (r *Receiver) head(p []byte) (int, error) {
	n, all := r.gather(p, streamHead)
	if !all {
		return n, nil
	}
	if string(r.buf[:len(streamMagic)]) != streamMagic {
		return n, fmt.Errorf("%w: it does not begin as one", ErrBad)
	}
	size := binary.BigEndian.Uint32(r.buf[len(streamMagic):])
	if size > maxListBytes {
		return n, fmt.Errorf("%w: a list of %d bytes", ErrBad, size)
	}
	r.buf, r.left = nil, uint64(size)
	r.stage = (*Receiver).list
	return n, nil
}

func (r *Receiver) list(p []byte) (int, error) {
	n, all := r.gather(p, int(r.left)+hashBytes)
	if !all {
		return n, nil
	}
	list, sum := r.buf[:r.left], r.buf[r.left:]
	if binary.BigEndian.Uint64(sum) != xxhash.Sum64(list) {
		return n, fmt.Errorf("%w: the checksum of its list", ErrBad)
	}
	files, err := decodeList(list)
	if err != nil {
		return n, err
	}
	r.buf, r.files = nil, files
	return n, r.begin()
}

// begin opens the next file or ends the stream.
func (r *Receiver) begin() error {
	if r.next == len(r.files) {
		r.done = true
		return nil
	}
	f, err := r.fs.Create(r.fs.PathJoin(r.dir, r.files[r.next].name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	r.file, r.left = f, r.files[r.next].size
	r.digest.Reset()
	r.stage = (*Receiver).body
	if r.left == 0 {
		r.stage = (*Receiver).checksum
	}
	return nil
}

func (r *Receiver) body(p []byte) (int, error) {
	p = p[:min(uint64(len(p)), r.left)]
	_, _ = r.digest.Write(p) // before the file, which may use p as it likes
	n, err := r.file.Write(p)
	if err != nil {
		return n, err
	}
	if r.left -= uint64(n); r.left == 0 {
		r.stage = (*Receiver).checksum
	}
	return n, nil
}

func (r *Receiver) checksum(p []byte) (int, error) {
	n, all := r.gather(p, hashBytes)
	if !all {
		return n, nil
	}
	if binary.BigEndian.Uint64(r.buf) != r.digest.Sum64() {
		return n, fmt.Errorf("%w: the checksum of %s", ErrBad, r.files[r.next].name)
	}
	r.buf = r.buf[:0]
	err := errors.Join(r.file.Sync(), r.file.Close())
	r.file = nil
	if err != nil {
		return n, err
	}
	r.next++
	return n, r.begin()
}

// Finish checks that the stream was whole and makes the directory durable.
func (r *Receiver) Finish() error {
	if !r.done {
		return fmt.Errorf("receive a state: %w: it is cut off", ErrBad)
	}
	d, err := r.fs.OpenDir(r.dir)
	if err != nil {
		return fmt.Errorf("receive a state: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("receive a state: %w", err)
	}
	return nil
}

// Cancel removes what has come.
func (r *Receiver) Cancel() error {
	var err error
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	r.done = true
	return errors.Join(err, r.fs.RemoveAll(r.dir))
}

package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/pgzip"

	"github.com/legate-project/legate/internal/lifecycle"
)

// fileMode of the files in the tar: a snapshot holds secrets.
const fileMode = 0o600

// compressBuffer is how many bytes go to the compressor at a time.
const compressBuffer = 256 << 10

// compressors work on as many such buffers at a time, at most.
const compressors = 4

// Write writes a container. state writes state.bin, Meta.Size bytes.
func Write(w io.Writer, meta Meta, made time.Time, state func(io.Writer) error) error {
	packed, plain := io.Pipe()
	done := make(chan error, 1)
	err := lifecycle.New("snapshot").Spawn("compress", func(context.Context) {
		err := compress(w, packed)
		packed.CloseWithError(err) // who writes is told
		done <- err
	})
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(plain, compressBuffer)
	out := &writer{tar: tar.NewWriter(buf), made: made}
	err = out.all(meta, state)
	if err == nil {
		err = errors.Join(out.tar.Close(), buf.Flush())
	}
	plain.CloseWithError(err)
	if e := <-done; err == nil {
		err = e
	}
	return err
}

// compress runs beside the making of the state, on as many cores as there are
// up to compressors: it takes more time than that.
func compress(w io.Writer, from *io.PipeReader) error {
	out := &sink{w: w, failed: from.CloseWithError}
	z, err := pgzip.NewWriterLevel(out, pgzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := z.SetConcurrency(compressBuffer, min(compressors, runtime.GOMAXPROCS(0))); err != nil {
		return err
	}
	_, err = io.CopyBuffer(z, from, make([]byte, compressBuffer))
	err = errors.Join(err, z.Close())
	if out.err != nil {
		return out.err
	}
	return err
}

// sink takes everything also after w failed, and has failed told of it: a
// compressor whose writer fails would leave a goroutine behind. One goroutine
// of the compressor's writes; after its Close, err is what w said.
type sink struct {
	w      io.Writer
	failed func(error) error
	err    error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return len(p), nil
	}
	if _, s.err = s.w.Write(p); s.err != nil {
		return len(p), s.failed(s.err)
	}
	return len(p), nil
}

type writer struct {
	tar  *tar.Writer
	made time.Time
	sums []byte
}

func (w *writer) all(meta Meta, state func(io.Writer) error) error {
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	if err := w.small(metaName, append(text, '\n')); err != nil {
		return err
	}
	if err := w.header(StateName, meta.Size); err != nil {
		return err
	}
	digest := sha256.New()
	if err := state(io.MultiWriter(w.tar, digest)); err != nil {
		return err
	}
	w.sum(StateName, digest)
	return w.small(sumsName, w.sums)
}

func (w *writer) header(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Name: name, Mode: fileMode, Size: size, ModTime: w.made, Format: tar.FormatPAX})
}

func (w *writer) small(name string, text []byte) error {
	if err := w.header(name, int64(len(text))); err != nil {
		return err
	}
	digest := sha256.New()
	digest.Write(text) // never fails
	w.sum(name, digest)
	_, err := w.tar.Write(text)
	return err
}

func (w *writer) sum(name string, digest hash.Hash) {
	w.sums = append(w.sums, sumLine(name, digest)...)
}

// sumLine is a checksum in the form of the command sha256sum.
func sumLine(name string, digest hash.Hash) string {
	return fmt.Sprintf("%x  %s\n", digest.Sum(nil), name)
}

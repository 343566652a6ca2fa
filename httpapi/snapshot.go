package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/legate-project/legate/op"
)

// snapshotStall bounds how long a snapshot may be without progress on its way
// to or from a client: one that reads or sends nothing for so long is gone.
const snapshotStall = 30 * time.Second

// snapshotBuffer is how many bytes of a snapshot are handed on at a time.
const snapshotBuffer = 64 << 10

// Snapshots makes and takes snapshots of a datacenter.
type Snapshots interface {
	// SaveSnapshot returns one as it is made; Close ends it early.
	SaveSnapshot(ctx context.Context, h op.Header) (io.ReadCloser, op.Meta, error)
	// RestoreSnapshot returns when the snapshot is the datacenter's state.
	RestoreSnapshot(ctx context.Context, h op.Header, from io.Reader) error
}

var xGzip = []string{"application/x-gzip"}

func (x *exchange) snapshots() (Snapshots, op.Header, error) {
	h, err := x.current()
	if err == nil && x.s.cfg.Snapshots == nil {
		err = refuse(http.StatusNotFound, "This agent makes no snapshots")
	}
	if err == nil && op.Wide(h.Datacenter) {
		err = reasoned(http.StatusBadRequest, "invalid", "A snapshot is of one datacenter: name it")
	}
	return x.s.cfg.Snapshots, h, err
}

// snapshotSave sends a snapshot as it is made.
func snapshotSave(x *exchange) error {
	source, h, err := x.snapshots()
	if err != nil {
		return err
	}
	x.waits = true // its time is the client's
	out, meta, err := source.SaveSnapshot(x.ctx, h)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // what was to be said was said
	x.meta(&meta)
	x.w.Header()["Content-Type"] = xGzip
	x.status = http.StatusOK
	control := http.NewResponseController(x.w)
	buf := make([]byte, snapshotBuffer)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(snapshotStall)) // where there are none, a dead client is noticed later
			if _, err := x.w.Write(buf[:n]); err != nil {
				return nil // what cannot be sent has no reader any more
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			x.s.log.Warn("a snapshot broke off", "error", err)
			x.breakOff(control)
			return nil
		}
	}
}

// breakOff ends the connection, so that the client does not take what it has
// for the whole.
func (x *exchange) breakOff(control *http.ResponseController) {
	if conn, _, err := control.Hijack(); err == nil {
		_ = conn.Close()
	}
}

// snapshotRestore makes the uploaded snapshot the state of the datacenter.
func snapshotRestore(x *exchange) error {
	to, h, err := x.snapshots()
	if err != nil {
		return err
	}
	x.waits = true
	body := &steady{r: x.r.Body, control: http.NewResponseController(x.w)}
	defer func() { _ = body.control.SetReadDeadline(time.Time{}) }()
	if err := to.RestoreSnapshot(x.ctx, h, body); err != nil {
		if !body.whole {
			x.w.Header().Set("Connection", "close") // the rest of the body is not read
		}
		return err
	}
	x.empty(http.StatusOK)
	return nil
}

// steady is a body that must go on coming.
type steady struct {
	r       io.Reader
	control *http.ResponseController
	whole   bool
}

// Read implements io.Reader.
func (s *steady) Read(p []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(snapshotStall)) // where there are none, a dead client is noticed later
	n, err := s.r.Read(p)
	if err == nil {
		return n, nil
	}
	// Reading goes on behind the body: that is how a lost client is noticed.
	_ = s.control.SetReadDeadline(time.Time{})
	if s.whole = errors.Is(err, io.EOF); s.whole {
		return n, err
	}
	return n, reasoned(http.StatusBadRequest, "invalid", "Request body cannot be read: "+err.Error())
}

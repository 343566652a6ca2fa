// Package snapshot sends and takes snapshots of a datacenter over HTTP. It bounds how
// long a client may stall; it looks into none.
package snapshot

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
)

// API is what the area depends on.
type API struct {
	// Source answers; nil answers 404.
	Source Snapshots
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/snapshot", Get: a.save, Put: a.restore},
	}
}

// snapshotStall bounds how long a buffer of a snapshot may take on its way to or
// from a client: one that reads or sends less in that time is gone.
const snapshotStall = 30 * time.Second

// snapshotBuffer is how many bytes of a snapshot are handed on at a time.
const snapshotBuffer = 64 << 10

// Snapshots makes and takes snapshots of a datacenter.
type Snapshots interface {
	// SaveSnapshot returns one as it is made; Close ends it early.
	SaveSnapshot(ctx context.Context, h op.Header) (io.ReadCloser, op.Meta, error)
	// RestoreSnapshot returns when the snapshot is the datacenter's state: with what it
	// had that was left out, nil if it is one of which nothing ever is.
	RestoreSnapshot(ctx context.Context, h op.Header, from io.Reader) (*op.Texts, error)
}

var xGzip = []string{"application/x-gzip"}

func (a *API) snapshots(x *rest.Exchange) (Snapshots, op.Header, error) {
	h, err := x.Current()
	if err == nil && a.Source == nil {
		err = rest.Refuse(http.StatusNotFound, "This agent makes no snapshots")
	}
	if err == nil && op.IsFanOut(h.Datacenter) {
		err = rest.Reasoned(http.StatusBadRequest, "invalid", "A snapshot is of one datacenter: name it")
	}
	return a.Source, h, err
}

// save sends a snapshot as it is made.
func (a *API) save(x *rest.Exchange) error {
	source, h, err := a.snapshots(x)
	if err != nil {
		return err
	}
	x.Waits = true // its time is the client's
	out, meta, err := source.SaveSnapshot(x.Ctx, h)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // what was to be said was said
	x.Meta(&meta)
	x.W.Header()["Content-Type"] = xGzip
	x.Begin(http.StatusOK)
	control := http.NewResponseController(x.W)
	buf := make([]byte, snapshotBuffer)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(snapshotStall)) // where there are none, a dead client is noticed later
			if _, err := x.W.Write(buf[:n]); err != nil {
				return nil // what cannot be sent has no reader any more
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			x.BreakOff(control, "a snapshot broke off", err)
			return nil
		}
	}
}

// restore makes the uploaded snapshot the state of the datacenter.
func (a *API) restore(x *rest.Exchange) error {
	to, h, err := a.snapshots(x)
	if err != nil {
		return err
	}
	x.Waits = true
	body := &steady{r: x.R.Body, control: http.NewResponseController(x.W), stall: snapshotStall}
	body.begin()
	defer func() { _ = body.control.SetReadDeadline(time.Time{}) }()
	left, err := to.RestoreSnapshot(x.Ctx, h, body)
	if err != nil {
		if !body.whole {
			x.W.Header().Set("Connection", "close") // the rest of the body is not read
		}
		return err
	}
	if left == nil {
		x.Empty(http.StatusOK)
		return nil
	}
	return x.JSON(struct{ LeftOut []string }{rest.Some(left.Texts)}) // clients of Consul look at the status alone
}

// steady is a body that must go on coming: a buffer of it in each stall at least,
// or who sends a byte now and then would keep all others from restoring. Time in
// which nobody reads does not count.
type steady struct {
	r       io.Reader
	control *http.ResponseController
	stall   time.Duration
	whole   bool

	left time.Duration // of the stall, for the rest of a buffer
	came int           // of that buffer
}

func (s *steady) begin() { s.left, s.came = s.stall, 0 }

// Read implements io.Reader.
func (s *steady) Read(p []byte) (int, error) {
	began := time.Now()
	_ = s.control.SetReadDeadline(began.Add(s.left)) // where there are none, a dead client is noticed later
	n, err := s.r.Read(p)
	if err == nil {
		s.left -= time.Since(began)
		if s.came += n; s.came >= snapshotBuffer {
			s.begin()
		}
		return n, nil
	}
	// Reading goes on behind the body: that is how a lost client is noticed.
	_ = s.control.SetReadDeadline(time.Time{})
	if s.whole = errors.Is(err, io.EOF); s.whole {
		return n, err
	}
	return n, rest.Reasoned(http.StatusBadRequest, "invalid", "Request body cannot be read: "+err.Error())
}

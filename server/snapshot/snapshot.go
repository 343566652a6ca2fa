// Package snapshot saves the state of a datacenter for its operator and restores
// it: an archive of one view's rows, made while it is sent; an upload that is spooled,
// replicated as commands while it is verified, and made the state once it is known to be
// whole. It also passes both on to the server that is to do it.
//
// Snapshots by which consensus brings a follower up are another thing and in
// package consensus. What an archive looks like is in state/archive.
package snapshot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/archive/consulsnap"
	"github.com/legate-project/legate/state/archive/pack"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// Bounds of snapshots.
const (
	// maxSaves are made at a time: each holds a view of the state, and a core.
	maxSaves = 4
	// maxForwarded pass through this server at a time.
	maxForwarded = 16
	// restorePart is how many bytes of rows one command carries.
	restorePart = 1 << 20
	// restoreInFlight parts are being replicated at a time: while one is applied the
	// next is written, and another made. More only fill the leader's queues, and it
	// must go on being heard.
	restoreInFlight = 3
	// abortLimit is how long a restore that failed may take to clean up.
	abortLimit = 5 * time.Second
	// maxIndex is the highest index of a snapshot: no datacenter gets there, clients
	// take indexes for signed numbers, and the next ones must be above it.
	maxIndex = 1 << 62
	// saveBuffer gathers what the compressor yields, in bytes.
	saveBuffer = 64 << 10
)

// Server is what snapshots need of the server that makes them.
type Server interface {
	// Route says which servers a request is for, and how they are reached; no
	// targets are this server. The header becomes that of the forwarded request.
	Route(h *op.Header, anywhere bool) ([]transport.Target, transfer.Opener, error)
	// Hold tries again while that may help, as calls do that wait for a leader.
	Hold(ctx context.Context, again func(error) bool, try func() error) error
	// ConfirmLeadership fails unless this server leads right now.
	ConfirmLeadership(ctx context.Context) error
	// Group lists the servers of the consensus group.
	Group() ([]consensus.Server, error)
	// Meta describes an answer of this server.
	Meta(c op.Consistency, index uint64) op.Meta
}

// Leader commits what a restore consists of.
type Leader interface {
	Self() op.Caller
	// Renew begins the reign anew, after the state was replaced.
	Renew()
}

// Config says what snapshots are made of.
type Config struct {
	Datacenter, NodeName string
	// Version of the program, for people who look at a snapshot.
	Version string
	// SpoolDir is where uploads are kept meanwhile; "" is the system's directory
	// for temporary files.
	SpoolDir   string
	State      *storage.State
	Authorizer func(token string) (rules.Authorizer, error)
	Group      *lifecycle.Group // of the goroutines that write
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Snapshots saves and restores. It is safe for concurrent use.
type Snapshots struct {
	cfg     Config
	server  Server
	leader  Leader
	metrics *metrics

	saves, restores, forwarded *limit.Limit
	stall                      time.Duration // how long a save waits for its reader
}

var _ transfer.Handler = (*Snapshots)(nil)

// New returns what saves and restores for the server.
func New(s Server, l Leader, cfg Config) *Snapshots {
	return &Snapshots{cfg: cfg, server: s, leader: l, metrics: newMetrics(cfg.Registerer),
		saves: limit.New(maxSaves), restores: limit.New(1), forwarded: limit.New(maxForwarded), stall: transfer.StallTimeout}
}

// mayRestore is asked of who saves or restores: both are everything there is,
// secrets included.
func (s *Snapshots) mayRestore(h op.Header) error {
	a, err := s.cfg.Authorizer(h.Token)
	if err != nil {
		return err
	}
	return rules.Require(a, rules.ACL, rules.Write, "")
}

// SaveSnapshot returns an archive of the state as it is made: the leader's or,
// with stale reads, this server's. Close ends it early. Where nobody reads for
// transfer.Stall, Read returns an error from then on.
func (s *Snapshots) SaveSnapshot(ctx context.Context, h op.Header) (out io.ReadCloser, meta op.Meta, err error) {
	err = s.server.Hold(ctx, againFor(h), func() error {
		out, meta, err = s.save(ctx, h)
		return err
	})
	return out, meta, err
}

// againFor is what may be tried again: without a leader nothing was done. Who
// passed a request on tries again itself, and only waits here for who was elected.
func againFor(h op.Header) func(error) bool {
	if h.Forwarded {
		return func(err error) bool { return op.CodeOf(err) == op.CodeNoLeader }
	}
	return func(err error) bool { return rpc.Retryable(err, op.KindWrite) }
}

func (s *Snapshots) save(ctx context.Context, h op.Header) (io.ReadCloser, op.Meta, error) {
	targets, via, err := s.server.Route(&h, h.Consistency == op.Stale)
	if err != nil {
		return nil, op.Meta{}, err
	}
	if targets != nil {
		if !s.forwarded.TryAcquire() {
			return nil, op.Meta{}, op.Errorf(op.CodeBusy, "server forwards %d snapshots, its limit", maxForwarded)
		}
		out, meta, err := transfer.Save(ctx, via, targets, h)
		if err != nil {
			s.forwarded.Release()
			return nil, op.Meta{}, err
		}
		return &passing{ReadCloser: out, done: s.forwarded.Release}, meta, nil
	}
	if err := s.mayRestore(h); err != nil {
		return nil, op.Meta{}, err
	}
	if h.Consistency == op.Consistent {
		if err := s.server.ConfirmLeadership(ctx); err != nil {
			return nil, op.Meta{}, err
		}
	}
	return s.saveHere(ctx, h)
}

// passing is a snapshot on its way through this server.
type passing struct {
	io.ReadCloser
	done   func()
	closed bool
}

// Close implements io.Closer.
func (p *passing) Close() error {
	if !p.closed {
		p.closed = true
		p.done()
	}
	return p.ReadCloser.Close()
}

// saveHere makes an archive of one view of this server's state.
func (s *Snapshots) saveHere(ctx context.Context, h op.Header) (io.ReadCloser, op.Meta, error) {
	if !s.saves.TryAcquire() {
		return nil, op.Meta{}, op.Errorf(op.CodeBusy, "server makes %d snapshots, its limit", maxSaves)
	}
	v := s.cfg.State.View()
	at, err := v.Export()
	if err != nil {
		s.saves.Release()
		return nil, op.Meta{}, errors.Join(fmt.Errorf("begin a snapshot: %w", err), v.Close())
	}
	r, w := io.Pipe()
	began := time.Now()
	err = s.cfg.Group.Spawn("save a snapshot", func(stopping context.Context) {
		defer s.saves.Release()
		for _, end := range []context.Context{ctx, stopping} {
			defer context.AfterFunc(end, func() { w.CloseWithError(op.ErrStopping) })()
		}
		err := s.archive(&patient{w: w, stall: s.stall}, v, at)
		if e := v.Close(); err == nil {
			err = e
		}
		if err == nil {
			s.metrics.saved.Observe(time.Since(began).Seconds())
		}
		w.CloseWithError(err)
	})
	if err != nil {
		s.saves.Release()
		return nil, op.Meta{}, errors.Join(op.ErrStopping, v.Close())
	}
	return r, s.server.Meta(h.Consistency, at.Index), nil
}

func (s *Snapshots) archive(w io.Writer, v *storage.View, at storage.Exported) error {
	servers, err := s.voters()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, saveBuffer)
	_, err = archive.Write(out, archive.Meta{
		Version: s.cfg.Version, Datacenter: s.cfg.Datacenter, Node: s.cfg.NodeName,
		Index: at.Index, RaftIndex: at.Position.Index, Term: at.Position.Term, Time: time.Now().UTC().Truncate(time.Second),
		Servers: servers, ConfigurationIndex: at.Position.ConfigurationIndex,
	}, portable(v))
	if err != nil {
		return err
	}
	return out.Flush()
}

// voters are the servers of the Raft group, as an archive lists them for those
// who read it; a restore does not touch the group.
func (s *Snapshots) voters() ([]pack.Server, error) {
	servers, err := s.server.Group()
	if err != nil {
		return nil, fmt.Errorf("describe the consensus group: %w", err)
	}
	var list []pack.Server
	for _, srv := range servers {
		one := pack.Server{ID: srv.ID, Address: srv.Address}
		if !srv.Voter {
			one.Suffrage = 1
		}
		list = append(list, one)
	}
	return list, nil
}

// portable yields the rows of a view as an archive wants them.
func portable(v *storage.View) iter.Seq2[archive.Row, error] {
	return func(yield func(archive.Row, error) bool) {
		for r, err := range v.Rows() {
			if !yield(archive.Row(r), err) {
				return
			}
		}
	}
}

// patient writes to a pipe that is closed when nobody reads for too long.
type patient struct {
	w     *io.PipeWriter
	stall time.Duration
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	t := time.AfterFunc(p.stall, func() { p.w.CloseWithError(op.Errorf(op.CodeTimeout, "the snapshot was not read for %v", p.stall)) })
	defer t.Stop()
	return p.w.Write(b)
}

// RestoreSnapshot makes the archive that from yields the state of the
// datacenter. It is read and verified whole before it shows. Of a snapshot
// of Consul it returns what was left out.
func (s *Snapshots) RestoreSnapshot(ctx context.Context, h op.Header, from io.Reader) (left *op.Texts, err error) {
	again, upload := againFor(h), &begun{r: from}
	err = s.server.Hold(ctx, func(err error) bool { return !upload.read && again(err) }, func() error {
		left, err = s.restore(ctx, h, upload)
		return err
	})
	return left, err
}

// begun remembers whether anything was read: that is gone for another try.
type begun struct {
	r    io.Reader
	read bool
}

// Read implements io.Reader.
func (b *begun) Read(p []byte) (int, error) {
	b.read = true
	return b.r.Read(p)
}

func (s *Snapshots) restore(ctx context.Context, h op.Header, from io.Reader) (*op.Texts, error) {
	targets, via, err := s.server.Route(&h, false)
	if err != nil {
		return nil, err
	}
	if targets != nil {
		if !s.forwarded.TryAcquire() {
			return nil, op.Errorf(op.CodeBusy, "server forwards %d snapshots, its limit", maxForwarded)
		}
		defer s.forwarded.Release()
		return transfer.Restore(ctx, via, targets, h, from)
	}
	if err := s.mayRestore(h); err != nil {
		return nil, err
	}
	if !s.restores.TryAcquire() {
		return nil, op.Errorf(op.CodeBusy, "another snapshot is being restored")
	}
	defer s.restores.Release()
	began := time.Now()
	file, err := s.spool(from)
	if err != nil {
		return nil, err
	}
	defer s.remove(file)
	index, left, err := s.replicate(ctx, file)
	if err != nil {
		return nil, err
	}
	s.metrics.restored.Observe(time.Since(began).Seconds())
	s.cfg.Log.Info("the snapshot is restored", "index", index, "took", time.Since(began))
	return left, nil
}

// spool writes the upload to a file: who sends slowly holds nothing else up.
func (s *Snapshots) spool(from io.Reader) (*os.File, error) {
	file, err := os.CreateTemp(s.cfg.SpoolDir, "restore-*.snap")
	if err != nil {
		return nil, fmt.Errorf("make room for a snapshot: %w", err)
	}
	n, err := io.Copy(file, io.LimitReader(from, archive.MaxBytes+1))
	if err != nil {
		err = fmt.Errorf("receive a snapshot: %w", err)
	} else if n > archive.MaxBytes {
		err = op.Errorf(op.CodeTooLarge, "the snapshot is larger than %d bytes", int64(archive.MaxBytes))
	} else if _, err = file.Seek(0, io.SeekStart); err != nil {
		err = fmt.Errorf("read a snapshot: %w", err)
	}
	if err != nil {
		s.remove(file)
		return nil, err
	}
	return file, nil
}

// remove ends a file of an upload.
func (s *Snapshots) remove(file *os.File) {
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		s.cfg.Log.Warn("remove an uploaded snapshot", "file", file.Name(), "error", err)
	}
}

// replicate stages the rows of an archive by commands while it is verified, and makes them
// the state once it is whole; else what is staged goes again. Of a snapshot of Consul it
// makes an archive, and returns what it has that is left out.
func (s *Snapshots) replicate(ctx context.Context, file *os.File) (uint64, *op.Texts, error) {
	p := s.newParts(ctx)
	meta, left, err := s.stage(file, p)
	if err = p.wait(err); err != nil {
		s.abort(p)
		return 0, nil, err
	}
	s.cfg.Log.Warn("restoring a snapshot: what the datacenter holds now is replaced", "peer_datacenter", meta.Datacenter,
		"index", meta.Index, "made", meta.Time, "rows", meta.Rows)
	// Once it is on its way it is not given up with whoever asked: what the
	// leader knows of the old state must end with it.
	res, _, err := state.RestoreFinish.Call(context.WithoutCancel(ctx), p.self, op.Header{}, &state.RestoreFinishRequest{ID: p.id, Rows: meta.Rows, Index: meta.Index})
	if err != nil {
		s.abort(p)
		return 0, nil, fmt.Errorf("restore a snapshot: %w", err)
	}
	s.leader.Renew()
	return res.Index, left, nil
}

// stage hands the rows of a file to the parts. Of a snapshot of Consul it makes an archive
// first, and returns what it has that is left out.
func (s *Snapshots) stage(file *os.File, to *parts) (meta archive.Meta, left *op.Texts, err error) {
	meta, err = verify(file, to)
	if !errors.Is(err, archive.ErrConsul) {
		return meta, nil, err
	}
	report, err := consulsnap.Replace(file, s.cfg.SpoolDir)
	if errors.Is(err, archive.ErrInvalid) {
		err = op.Errorf(op.CodeInvalid, "the snapshot is refused, nothing was changed: %v", err)
	}
	if err != nil {
		return meta, nil, err
	}
	s.cfg.Log.Warn("the snapshot is one of Consul", "version", report.Version, "id", report.ID, "left_out", report.LeftOut(), "keys_unlocked", report.Unlocked)
	meta, err = verify(file, to)
	return meta, &op.Texts{Texts: report.LeftOut()}, err
}

// verify reads an archive whole: that it is as it was written, and that what was written
// is a state that the tables can read. Its rows go to the parts as they are read.
func verify(file io.Reader, to *parts) (archive.Meta, error) {
	check := storage.NewCheck(state.Tables())
	var wrong, failed error
	meta, err := archive.Read(file, func(r archive.Row) error {
		if wrong = check.Row(storage.Row(r)); wrong != nil {
			return wrong
		}
		failed = to.add(storage.Row(r))
		return failed
	})
	if failed != nil {
		return meta, fmt.Errorf("restore a snapshot: %w", failed)
	}
	if err == nil {
		wrong = check.End()
		if newest := max(meta.Index, check.Newest()); wrong == nil && (newest > meta.Index || newest > maxIndex) {
			wrong = fmt.Errorf("it is of index %d and has a record of index %d", meta.Index, check.Newest())
		}
		err = wrong
	}
	if wrong != nil || errors.Is(err, archive.ErrInvalid) {
		err = op.Errorf(op.CodeInvalid, "the snapshot is refused, nothing was changed: %v", err)
	}
	return meta, err
}

// abort drops what a restore that failed has left; a later restore would, too.
func (s *Snapshots) abort(p *parts) {
	if !p.begun {
		return
	}
	ctx, cancel := context.WithTimeout(s.cfg.Group.Context(), abortLimit)
	defer cancel()
	_, _, err := state.RestoreAbort.Call(ctx, s.leader.Self(), op.Header{}, &state.RestoreBeginRequest{ID: p.id})
	if err != nil {
		s.cfg.Log.Warn("what a failed restore has left takes room until the next one", "error", err)
	}
}

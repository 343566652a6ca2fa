package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

func endpoint(t *testing.T, name string, p transport.Protocol) *transport.Endpoint {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.NewDerived(make([]byte, 32), identity.Peer{Federation: "f", Datacenter: "dc1", NodeID: name, Name: name, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := transport.New(transport.Config{Conn: conn, Identity: id, Protocols: map[string]transport.Protocol{Protocol: p}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// handler is a server that the test scripts.
type handler struct {
	out     io.Reader
	saveErr error
	closed  chan struct{}

	restore func(io.Reader) error
	left    *op.Texts
	header  atomic.Pointer[op.Header] // as the server got it
}

func (h *handler) SaveSnapshot(_ context.Context, header op.Header) (io.ReadCloser, op.Meta, error) {
	h.header.Store(&header)
	if h.saveErr != nil {
		return nil, op.Meta{}, h.saveErr
	}
	return h, op.Meta{Index: 42}, nil
}

func (h *handler) Read(p []byte) (int, error) { return h.out.Read(p) }
func (h *handler) Close() error               { close(h.closed); return nil }

func (h *handler) RestoreSnapshot(_ context.Context, header op.Header, from io.Reader) (*op.Texts, error) {
	h.header.Store(&header)
	return h.left, h.restore(from)
}

// serving returns a client and the targets of a server with the handler, behind
// one that cannot be reached.
func serving(t *testing.T, h *handler) (Opener, []transport.Target) {
	t.Helper()
	h.closed = make(chan struct{})
	server := endpoint(t, "server", Serve(h, nil))
	return endpoint(t, "client", Dial()), []transport.Target{{Addr: server.Addr().String(), NodeID: "server"}}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestSavedSnapshotComesWhole(t *testing.T) {
	for _, size := range []int{0, 1, maxFrame, maxFrame + 1, 3_000_000} {
		content := strings.Repeat("x", size)
		h := &handler{out: strings.NewReader(content)}
		via, to := serving(t, h)
		out, meta, err := Save(t.Context(), via, to, op.Header{Datacenter: "dc1", Token: "secret", Consistency: op.Stale})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(out)
		if err != nil || string(got) != content || meta.Index != 42 {
			t.Errorf("%d bytes of %d, %+v: %v", len(got), size, meta, err)
		}
		if got := h.header.Load(); got.Datacenter != "dc1" || got.Token != "secret" || got.Consistency != op.Stale || got.Hops != 1 {
			t.Errorf("the header came as %+v", *got)
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestErrorsOfASave(t *testing.T) {
	via, to := serving(t, &handler{saveErr: op.ErrNotLeader})
	if _, _, err := Save(t.Context(), via, to, op.Header{}); op.CodeOf(err) != op.CodeNotLeader {
		t.Errorf("at once: %v", err)
	}
	via, to = serving(t, &handler{out: io.MultiReader(strings.NewReader("part"), failing{op.Errorf(op.CodeTimeout, "stalled")})})
	out, _, err := Save(t.Context(), via, to, op.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(out); op.CodeOf(err) != op.CodeTimeout || string(got) != "part" {
		t.Errorf("in the middle: %q %v", got, err)
	}
	if _, _, err := Save(t.Context(), via, to, op.Header{Hops: op.MaxHops}); err == nil {
		t.Error("a snapshot went round in circles")
	}
	if _, _, err := Save(t.Context(), via, nil, op.Header{}); op.CodeOf(err) != op.CodeNoServer {
		t.Errorf("without servers: %v", err)
	}
}

func TestWhoCannotBeReachedIsPassedOver(t *testing.T) {
	via, to := serving(t, &handler{out: strings.NewReader("x")})
	dead := transport.Target{Addr: to[0].Addr, NodeID: "somebody else"}
	out, _, err := Save(t.Context(), via, []transport.Target{dead, to[0]}, op.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := Save(t.Context(), via, []transport.Target{dead}, op.Header{}); op.CodeOf(err) != op.CodeNoServer {
		t.Errorf("%v", err)
	}
}

// endless yields bytes for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestClosedSaveEndsAtTheServer(t *testing.T) {
	h := &handler{out: endless{}}
	via, to := serving(t, h)
	out, _, err := Save(t.Context(), via, to, op.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.closed:
	case <-time.After(10 * time.Second):
		t.Error("the server goes on")
	}
}

func TestRestoredSnapshotComesWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	came := make(chan []byte, 1)
	via, to := serving(t, &handler{restore: func(from io.Reader) error {
		got, err := io.ReadAll(from)
		came <- got
		return err
	}})
	_, err := Restore(t.Context(), via, to, op.Header{}, bytes.NewReader(content))
	if got := <-came; err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d of %d bytes: %v", len(got), len(content), err)
	}
}

// What was left out is told, as far as it fits, and also that it was nothing.
func TestWhatARestoreLeavesOutIsTold(t *testing.T) {
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("line %d", i))
	}
	for _, left := range []*op.Texts{nil, {}, {Texts: []string{"one", "two"}}, {Texts: many}} {
		via, to := serving(t, &handler{left: left, restore: func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }})
		got, err := Restore(t.Context(), via, to, op.Header{}, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if left == nil || got == nil || len(left.Texts) < 3 {
			if (got == nil) != (left == nil) || got != nil && !slices.Equal(got.Texts, left.Texts) {
				t.Errorf("left out %v, told %v", left, got)
			}
			continue
		}
		n := len(got.Texts) - 1
		if n < 500 || !slices.Equal(got.Texts[:n], many[:n]) || got.Texts[n] != fmt.Sprintf("and %d lines more, which are in the log of the leader", len(many)-n) {
			t.Errorf("of %d lines %d are told, at the end %q", len(many), n, got.Texts[n])
		}
	}
}

func TestErrorsOfARestore(t *testing.T) {
	refuse := &handler{restore: func(io.Reader) error { return op.Errorf(op.CodeBusy, "another") }}
	via, to := serving(t, refuse)
	if _, err := Restore(t.Context(), via, to, op.Header{}, endless{}); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("refused before it came: %v", err)
	}
	late := &handler{restore: func(from io.Reader) error {
		_, err := io.Copy(io.Discard, from)
		return errors.Join(err, op.Errorf(op.CodeInvalid, "altered"))
	}}
	via, to = serving(t, late)
	if _, err := Restore(t.Context(), via, to, op.Header{}, strings.NewReader("x")); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("refused when it had come: %v", err)
	}
}

// after yields nothing until the channel is closed, and then an error.
type after struct {
	begun chan struct{}
	err   error
}

func (a after) Read([]byte) (int, error) {
	<-a.begun
	return 0, a.err
}

// An upload that breaks off must not look like one that is whole.
func TestBrokenUploadIsNotTakenForTheWhole(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	via, to := serving(t, &handler{restore: func(from io.Reader) error {
		_, err := io.ReadFull(from, make([]byte, maxFrame))
		close(begun)
		if err == nil {
			_, err = io.Copy(io.Discard, from)
		}
		ended <- err
		return err
	}})
	lost := errors.New("the client went")
	from := io.MultiReader(bytes.NewReader(make([]byte, maxFrame)), after{begun, lost})
	if _, err := Restore(t.Context(), via, to, op.Header{}, from); !errors.Is(err, lost) {
		t.Errorf("%v", err)
	}
	select {
	case err := <-ended:
		if op.CodeOf(err) != op.CodeLost {
			t.Errorf("the server sees %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server goes on waiting")
	}
}

func TestGarbageIsAnswered(t *testing.T) {
	via, to := serving(t, &handler{})
	for _, head := range [][]byte{nil, {9}, {kindSave, 0xc1}} {
		s, err := via.Open(t.Context(), to[0], Protocol)
		if err != nil {
			t.Fatal(err)
		}
		if err := transport.WriteFrame(s, head); err != nil {
			t.Fatal(err)
		}
		b, err := transport.ReadFrame(s, maxHead)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.ReadReply(b); err == nil {
			t.Errorf("%x is taken", head)
		}
		s.Cancel()
	}
}

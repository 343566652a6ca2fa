package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

func endpoint(t *testing.T, name string, protocols map[string]transport.Protocol) *transport.Endpoint {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.NewDerived(make([]byte, 32), identity.Peer{Federation: "f", Datacenter: "dc1", NodeID: name, Name: name, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := transport.New(transport.Config{Conn: conn, Identity: id, Protocols: protocols})
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

// script is a result in parts that the test makes.
type script struct {
	next   func() (*op.Reply, error)
	closed chan struct{}
	once   sync.Once
}

func (s *script) Next() (*op.Reply, error) { return s.next() }
func (s *script) Close()                   { s.once.Do(func() { close(s.closed) }) }

// source answers in parts who takes them.
func source(s *script) op.Caller {
	s.closed = make(chan struct{})
	return op.CallerFunc(func(_ context.Context, c *op.Call) (*op.Reply, error) {
		switch c.Take {
		case op.TakeShort:
			return nil, op.Errorf(op.CodeLong, "too long")
		case op.TakeParts:
			return op.ReplyInParts(op.Meta{Index: 42}, s), nil
		}
		return op.NewReply(op.Meta{Index: 42}, &op.Text{Text: "whole"}), nil
	})
}

func inParts() *op.Read[op.Text, op.Text] {
	o := read()
	o.Part = func(storage.Reader, *op.Text, []byte, int) (*op.Text, []byte, error) { return nil, nil, nil }
	return o
}

// begin asks a server, behind another one that hands the call on, for a result
// in parts.
func begin(t *testing.T, ctx context.Context, s *script) (*op.Listing[op.Text], error) {
	t.Helper()
	serve := func(name string, c op.Caller) transport.Target {
		a := NewServer(c, []op.Operation{inParts()}, nil)
		e := endpoint(t, name, map[string]transport.Protocol{Protocol: a.Protocol(true, nil), PartsProtocol: a.Parts(nil)})
		return transport.Target{Addr: e.Addr().String(), NodeID: name}
	}
	sender := func(name string, to transport.Target) op.Caller {
		via := endpoint(t, name, map[string]transport.Protocol{Protocol: {Shared: true}, PartsProtocol: DialParts()})
		return op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
			return TryEach(ctx, via, []transport.Target{to}, c, nil)
		})
	}
	last := serve("last", source(s))
	between := serve("between", sender("between's client", last))
	return inParts().InParts(ctx, sender("client", between), op.Header{}, &op.Text{})
}

func TestPartsArriveWhole(t *testing.T) {
	n := 0
	s := &script{next: func() (*op.Reply, error) {
		if n++; n > 50 {
			return nil, io.EOF
		}
		return op.NewReply(op.Meta{}, &op.Text{Text: strings.Repeat("x", n*5000)}), nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	l, err := begin(t, ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	defer l.Close()
	if _, whole := l.Whole(); whole || l.Meta.Index != 42 {
		t.Errorf("whole %v, %+v", whole, l.Meta)
	}
	got := 0
	for part, err := range l.All() {
		if err != nil {
			t.Fatal(err)
		}
		if got++; len(part.Text) != got*5000 {
			t.Errorf("part %d has %d bytes", got, len(part.Text))
		}
	}
	if got != 50 {
		t.Errorf("%d parts of 50", got)
	}
	<-s.closed
}

func TestPartsThatBreakOff(t *testing.T) {
	for name, cause := range map[string]error{"a reason": op.Errorf(op.CodeTimeout, "stalled"), "not encoded": errors.New("broken")} {
		n := 0
		s := &script{next: func() (*op.Reply, error) {
			if n++; n > 3 {
				return nil, cause
			}
			return op.NewReply(op.Meta{}, &op.Text{Text: "x"}), nil
		}}
		l, err := begin(t, t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, e := range l.All() {
			if err = e; e == nil {
				got++
			}
		}
		if got != 3 || op.CodeOf(err) != op.CodeOf(cause) || err.Error() != cause.Error() {
			t.Errorf("%s: %d parts, then %v", name, got, err)
		}
		l.Close()
	}
}

// endless yields parts as long as somebody asks.
func endless() *script {
	text := strings.Repeat("x", op.PartBytes)
	return &script{next: func() (*op.Reply, error) { return op.NewReply(op.Meta{}, &op.Text{Text: text}), nil }}
}

func TestWhoGoesEndsTheReading(t *testing.T) {
	for name, leave := range map[string]func(*op.Listing[op.Text], context.CancelFunc){
		"closed":    func(l *op.Listing[op.Text], _ context.CancelFunc) { l.Close() },
		"cancelled": func(_ *op.Listing[op.Text], cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			s := endless()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l, err := begin(t, ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for _, err := range l.All() {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			leave(l, cancel)
			select {
			case <-s.closed:
			case <-time.After(10 * time.Second):
				t.Fatal("the server goes on reading")
			}
			for _, err := range l.All() {
				if err != nil {
					return
				}
			}
			t.Error("what was given up ended as if it were whole")
		})
	}
}

func TestLongResultIsTakenWholeByWhoDoesNotTakeParts(t *testing.T) {
	a := NewServer(source(endless()), []op.Operation{inParts()}, nil)
	res, _, err := inParts().Call(t.Context(), op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
		return Send(ctx, wire{a}, transport.Target{}, c)
	}), op.Header{}, &op.Text{})
	if err != nil || res.Text != "whole" {
		t.Errorf("%v %v", res, err)
	}
}

func TestPartsOfWhatHasNone(t *testing.T) {
	a := NewServer(nil, []op.Operation{read()}, nil)
	head, err := op.AppendHead(nil, op.NewCall(read(), op.Header{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.begin(t.Context(), head, false); op.CodeOf(err) != op.CodeUnsupported {
		t.Errorf("%v", err)
	}
}

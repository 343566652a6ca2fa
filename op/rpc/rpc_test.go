package rpc

import (
	"context"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/transport"
)

// read is an operation whose result is what the test says.
func read() *op.Read[op.Text, op.Text] {
	return &op.Read[op.Text, op.Text]{Name: "test.read", Authorize: func(rules.Authorizer, *op.Text) error { return nil }}
}

// wire sends calls to a Server without a network.
type wire struct{ a *Server }

func (wire) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

func (w wire) RoundTrip(ctx context.Context, _ transport.Target, _ string, head, body []byte) ([]byte, error) {
	return w.a.answer(ctx, append(append([]byte(nil), head...), body...), false), nil
}

// ask sends one call over the wire to a Caller that answers with text.
func ask(t *testing.T, h op.Header, text string, known ...op.Operation) (*op.Text, error) {
	t.Helper()
	answer := op.CallerFunc(func(_ context.Context, c *op.Call) (*op.Reply, error) {
		if c.Header.Hops != h.Hops+1 {
			t.Errorf("hops %d, want one more than %d", c.Header.Hops, h.Hops)
		}
		return op.NewReply(op.Meta{}, &op.Text{Text: text}), nil
	})
	via := wire{NewServer(answer, known, nil)}
	res, _, err := read().Call(t.Context(), op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
		return TryEach(ctx, via, []transport.Target{{Addr: "x"}}, c, nil)
	}), h, &op.Text{})
	return res, err
}

func TestCallOverTheWire(t *testing.T) {
	if res, err := ask(t, op.Header{}, "hello", read()); err != nil || res.Text != "hello" {
		t.Errorf("%v %v", res, err)
	}
	if _, err := ask(t, op.Header{}, "hello"); op.CodeOf(err) != op.CodeUnsupported {
		t.Errorf("an operation that the server does not know: %v", err)
	}
	if _, err := ask(t, op.Header{Hops: op.MaxHops}, "hello", read()); err == nil {
		t.Error("a call went round in circles")
	}
}

func TestAnswerThatNoAgentCarriesIsRefused(t *testing.T) {
	_, err := ask(t, op.Header{}, strings.Repeat("x", transport.MaxResponse), read())
	if op.CodeOf(err) != op.CodeTooLarge || Retryable(err, op.KindRead) {
		t.Errorf("%v", err)
	}
}

func TestGarbageIsAnswered(t *testing.T) {
	a := NewServer(nil, nil, nil)
	for _, b := range [][]byte{nil, {0xff}, {4, 'a'}, []byte("\x04test\xc1")} {
		if _, err := op.ReadReply(a.answer(t.Context(), b, false)); op.CodeOf(err) != op.CodeInvalid {
			t.Errorf("%q: %v", b, err)
		}
	}
}

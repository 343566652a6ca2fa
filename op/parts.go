package op

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/legate-project/legate/storage"
)

// Sizes of results that come in parts, in bytes.
const (
	// ShortBytes is up to which a result is one message.
	ShortBytes = 1 << 20
	// PartBytes is what a part of a longer one holds, or one item that is larger.
	PartBytes = 256 << 10
)

// Take says in which form a caller takes a long result of an operation that
// has parts. Other results are whole.
type Take uint8

// The forms.
const (
	TakeWhole Take = iota // as one value, however long
	TakeShort             // as one value, or CodeLong where it is longer than ShortBytes
	TakeParts             // one part after the other
)

// Partial is an operation whose result can be had in parts.
type Partial interface {
	Queryable
	// HasParts is false where the operation was declared without.
	HasParts() bool
	// RunPart returns the part that follows after, of about max bytes, and what
	// the next part follows, nil after the last.
	RunPart(r storage.Reader, request any, after []byte, max int) (part any, next []byte, err error)
}

// Parts is a long result as it comes.
type Parts interface {
	// Next returns the next part, then io.EOF. Any other error says that the
	// result is not whole. One goroutine calls it.
	Next() (*Reply, error)
	// Close ends it early; Next fails from then on. It may be called at any time,
	// by anybody, repeatedly.
	Close()
}

// ReplyInParts returns a reply whose result comes in parts.
func ReplyInParts(m Meta, p Parts) *Reply { return &Reply{Meta: m, parts: p} }

// EncodedReply returns a reply that came from the wire without its meta.
func EncodedReply(body []byte) *Reply { return &Reply{body: body} }

// Parts returns the parts of a long result; nil for one that is whole. Who gets
// them closes them.
func (r *Reply) Parts() Parts { return r.parts }

var errInParts = errors.New("the result comes in parts")

// Listing is the result of a read in one part or more.
type Listing[Res any] struct {
	Meta Meta
	o    Operation
	// Of a whole result.
	whole *Res
	// Of one in parts.
	parts Parts
	undo  func() bool
}

// InParts asks for a result that may be long. The listing must be closed; it
// ends with ctx.
func (o *Read[Req, Res]) InParts(ctx context.Context, c Caller, h Header, r *Req) (*Listing[Res], error) {
	call := NewCall(o, h, r)
	call.Take = TakeParts
	reply, err := c.Do(ctx, call)
	if err != nil {
		return nil, err
	}
	l := &Listing[Res]{Meta: reply.Meta, o: o, parts: reply.parts}
	if l.parts != nil {
		l.undo = context.AfterFunc(ctx, l.parts.Close)
		return l, nil
	}
	l.whole, err = resultOf[Res](reply, o)
	return l, err
}

// resultOf is nil where there is no result.
func resultOf[Res any](r *Reply, o Operation) (*Res, error) {
	v, err := r.Result(o)
	if err != nil {
		return nil, err
	}
	res, _ := v.(*Res)
	return res, nil
}

// Whole returns a result that came as one value, nil for none; false says that
// it comes in parts.
func (l *Listing[Res]) Whole() (*Res, bool) { return l.whole, l.parts == nil }

// All yields the parts, once. After an error, which says that the result is not
// whole, it ends.
func (l *Listing[Res]) All() iter.Seq2[*Res, error] {
	return func(yield func(*Res, error) bool) {
		if l.parts == nil {
			if l.whole != nil {
				yield(l.whole, nil)
			}
			return
		}
		for {
			reply, err := l.parts.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			var part *Res
			if err == nil {
				part, err = resultOf[Res](reply, l.o)
			}
			if !yield(part, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the listing.
func (l *Listing[Res]) Close() {
	if l.parts != nil {
		l.undo()
		l.parts.Close()
	}
}

// HasParts implements Partial.
func (o *Read[Req, Res]) HasParts() bool { return o.Part != nil }

// RunPart implements Partial.
func (o *Read[Req, Res]) RunPart(r storage.Reader, req any, after []byte, max int) (any, []byte, error) {
	part, next, err := o.Part(r, req.(*Req), after, max)
	if err != nil || part == nil {
		return nil, nil, err
	}
	return part, next, nil
}

// Package op is the contract between those who ask a datacenter for something
// and those who answer.
//
// An operation is declared once, as a package-level value in the package of
// its domain: Read, Write, Internal or Direct. Callers call that value with a
// Caller; whether the answer comes from this process, the leader or another
// datacenter is the Caller's business. The package declares and encodes; it
// opens no connections and keeps no state.
package op

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"weak"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Kind says how an operation is carried out.
type Kind uint8

// The kinds of operation.
const (
	KindRead       Kind = iota + 1 // answered from a read view of the state
	KindWrite                      // replicated; answered by applying it
	KindInternal                   // replicated, proposed by a leader only, never by a client
	KindDirect                     // answered by a server itself, not replicated
	KindDirectRead                 // as KindDirect, and changes nothing: see Direct.Reads
)

// String names the kind in metrics and errors.
func (k Kind) String() string {
	switch k {
	case KindRead:
		return "read"
	case KindWrite:
		return "write"
	case KindInternal:
		return "internal"
	case KindDirect:
		return "direct"
	case KindDirectRead:
		return "reading"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Operation is what every declared operation has. The requests that pass
// through it are pointers to the operation's request type.
type Operation interface {
	// OpName is the name on the wire and in metrics: "kv.get".
	OpName() string
	OpKind() Kind
	// DecodeRequest returns a new request read from b.
	DecodeRequest(b []byte) (any, error)
	// DecodeResult returns a new result read from b, or nil for no bytes.
	DecodeResult(b []byte) (any, error)
	// Allow returns a *rules.DeniedError unless the caller may ask this.
	Allow(a rules.Authorizer, request any) error
}

// Queryable is an operation answered from a read view.
type Queryable interface {
	Operation
	Run(r storage.Reader, request any) (result any, err error)
	// Hide returns the result without what the caller may not see, and whether
	// there was any. The result that is given stays as it is.
	Hide(a rules.Authorizer, result any) (any, bool)
	// Sharable reports whether one result may be kept for several callers.
	Sharable() bool
}

// Located is a result whose items are each on a node, so that they can be
// sorted by distance.
type Located interface {
	// NodeNames names the node of each item.
	NodeNames() []string
	// Reordered returns a copy with the items in another order: item i of it is
	// item order[i].
	Reordered(order []int) any
}

// Preparable is an operation that is replicated as a command.
type Preparable interface {
	Operation
	// Ready fixes on the leader whatever must not differ between servers.
	Ready(l Leader, request any) error
	// AllowStored returns a *rules.DeniedError unless the caller may do this to
	// what is stored. It is asked after Allow and Ready.
	AllowStored(a rules.Authorizer, r storage.Reader, request any) error
	// Global reports whether ForHome may say so of any request.
	Global() bool
	// ForHome reports whether the write belongs to the home datacenter.
	ForHome(r storage.Reader, request any) (bool, error)
}

// Checkable is a Preparable that may refuse what does not fit what is stored.
type Checkable interface {
	// Checks reports whether CheckStored is to be asked.
	Checks() bool
	CheckStored(r storage.Reader, request any) error
}

// Leader is what Prepare may use: the only source of time and randomness for
// a replicated command.
type Leader struct {
	Now   time.Time
	NewID func() string // a random UUID
	// Clock is the leader's place on the axis of time of the replicated state: how
	// far that had got when it began to lead, and the monotonic time since. No wall
	// clock takes part. 0 stands for "as far as the state says".
	Clock time.Duration
	// MinTTL is the shortest TTL that a session may have; 0 for the default.
	MinTTL time.Duration
	// BootstrapReset returns the index that an operator has left on this server to
	// have access control bootstrapped once more, 0 for none; nil has none.
	BootstrapReset func() uint64
}

// Caller carries a call to where it is answered. Implementations are safe for
// concurrent use and do not keep the call after they return.
type Caller interface {
	Do(ctx context.Context, call *Call) (*Reply, error)
}

// Subscriber is where a result can be followed.
type Subscriber interface {
	// Subscribe calls push with the result of the read and with each newer one, as
	// soon as there is one and push has returned; what came meanwhile is left out.
	// The header's MinIndex is that of the result which the caller holds already, 0
	// for none; the first result is pushed all the same. A reply without an index
	// says that nothing has changed, how long the source has not heard its leader,
	// and how old the result has become if the source follows it itself. With
	// MustCurrent a source that falls behind for long ends with CodeNoLeader:
	// another one may do better. It returns when ctx ends, push fails or the source cannot go on, and
	// then says why: what was pushed last stays true as of then.
	Subscribe(ctx context.Context, call *Call, push func(*Reply) error) error
}

const (
	// Heartbeat is how often, give or take a tenth, a Subscriber says that nothing
	// has changed.
	Heartbeat = 5 * time.Second
	// LeaderSilence is how long a server may not have heard its leader and still
	// count as current: leaders speak several times in it.
	LeaderSilence = 5 * time.Second
	// Longest stands for a time that nobody knows, as that since a leader was heard
	// by who never heard one: longer than all that are known, and short enough to be
	// added to. No Meta says more.
	Longest = 100 * 365 * 24 * time.Hour
)

// CallerFunc is a function that is a Caller.
type CallerFunc func(ctx context.Context, call *Call) (*Reply, error)

// Do implements Caller.
func (f CallerFunc) Do(ctx context.Context, call *Call) (*Reply, error) { return f(ctx, call) }

// Call is one request on its way. Its body is encoded at most once and only
// when it leaves the process, decoded only where it is carried out.
type Call struct {
	Operation Operation
	Header    Header
	// Take says in which form the caller takes a long result.
	Take Take
	// Long says that the result is known to be long, with TakeParts.
	Long bool
	// ByAgent says that a client agent asks. It asks the other servers too while one
	// knows no leader, so that none of them need wait long for one.
	ByAgent bool
	request any
	body    []byte
}

// NewCall returns a call with a decoded request.
func NewCall(o Operation, h Header, request any) *Call {
	return &Call{Operation: o, Header: h, request: request}
}

// Received returns a call with an encoded request, as it came from the wire.
func Received(o Operation, h Header, body []byte) *Call {
	return &Call{Operation: o, Header: h, body: body}
}

// Body returns the encoded request.
func (c *Call) Body() ([]byte, error) {
	if c.body == nil {
		b, err := encode(c.request)
		if err != nil {
			return nil, fmt.Errorf("encode request of %s: %w", c.Operation.OpName(), err)
		}
		c.body = b
	}
	return c.body, nil
}

// Request returns the decoded request. Who changes it (Prepare) owns the call
// and says so with Changed.
func (c *Call) Request() (any, error) {
	if c.request == nil {
		r, err := c.Operation.DecodeRequest(c.body)
		if err != nil {
			return nil, Malformed(c.Operation, err)
		}
		c.request = r
	}
	return c.request, nil
}

// Malformed is the answer to a request whose decoding failed with err.
func Malformed(o Operation, err error) *Error {
	if errors.Is(err, msgp.ErrLimitExceeded) {
		return Errorf(CodeInvalid, "request of %s has a list with more entries than are allowed", o.OpName())
	}
	return Errorf(CodeInvalid, "decode request of %s: %v", o.OpName(), err)
}

// InParts returns the call for a result that turned out to be long: in parts, and
// without a wait, which is over then.
func (c *Call) InParts() *Call {
	l := *c
	l.Long, l.Header.MinIndex = true, 0
	return &l
}

// Changed drops the encoded form after the request was changed.
func (c *Call) Changed() { c.body = nil }

// Reply is the answer to a call: a result or, when it came from the wire, its
// encoded form.
type Reply struct {
	Meta   Meta
	result any
	body   []byte
	shared *Rendered // nil if the result belongs to this call alone
	parts  Parts     // nil unless the result comes in parts
	lasts  Lasting   // nil if that is not known
}

// Lasting says of an answer whether it still is what asking would give: for who keeps what
// it made of the answer. It holds no lock that all who ask would share, and allocates nothing.
type Lasting interface {
	// Lasts reports whether the same call would be answered now with the same result, and as
	// one that is current. It may say no of one that would, and once it did says so again.
	Lasts(now time.Time) bool
}

// Lasting is how it is found out whether the answer still holds; nil if that is not known:
// then it is to be asked for again.
func (r *Reply) Lasting() Lasting { return r.lasts }

// While sets what Lasting returns. It returns the reply.
func (r *Reply) While(l Lasting) *Reply {
	r.lasts = l
	return r
}

// Share returns a reply whose result other calls get, too: nobody may change
// it. What is rendered from it is kept in r.
func Share(m Meta, result any, r *Rendered) *Reply { return &Reply{Meta: m, result: result, shared: r} }

// Render returns what make makes of the result, kept under kind for all who
// share the result. Kinds are few and fixed: they come from our code, never
// from a request.
func (r *Reply) Render(kind string, make func() ([]byte, error)) ([]byte, error) {
	if r.shared == nil {
		return make()
	}
	return r.shared.get(kind, make)
}

// Rendered keeps what was made of a shared result: its wire form, JSON. It is dropped with the result, and by each collection of garbage:
// thousands of results are kept because somebody waits for them to change, and what was
// made of them would take more than they do. What is asked for often is made anew then.
type Rendered struct {
	mu    sync.Mutex
	forms map[string]weak.Pointer[form]
}

type form struct{ bytes []byte }

func (r *Rendered) get(kind string, make func() ([]byte, error)) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.forms[kind].Value(); f != nil {
		return f.bytes, nil
	}
	b, err := make()
	if err != nil {
		return nil, err
	}
	if r.forms == nil {
		r.forms = map[string]weak.Pointer[form]{}
	}
	r.forms[kind] = weak.Make(&form{b})
	return b, nil
}

// NewReply returns a reply with a decoded result; nil stands for no result.
func NewReply(m Meta, result any) *Reply { return &Reply{Meta: m, result: result} }

// Result returns the decoded result of the operation, nil if there is none.
func (r *Reply) Result(o Operation) (any, error) {
	if r.parts != nil {
		return nil, fmt.Errorf("result of %s: %w", o.OpName(), errInParts)
	}
	if r.result == nil && len(r.body) > 0 {
		v, err := o.DecodeResult(r.body)
		if err != nil {
			return nil, Errorf(CodeInternal, "decode result of %s: %v", o.OpName(), err)
		}
		r.result = v
	}
	return r.result, nil
}

// Body returns the encoded result, empty for none.
func (r *Reply) Body() ([]byte, error) {
	if r.parts != nil {
		return nil, fmt.Errorf("encode result: %w", errInParts)
	}
	if r.body == nil && r.result != nil {
		b, err := r.Render("wire", func() ([]byte, error) { return encode(r.result) })
		if err != nil {
			return nil, fmt.Errorf("encode result: %w", err)
		}
		r.body = b
	}
	return r.body, nil
}

func encode(v any) ([]byte, error) {
	m, ok := v.(msgp.Marshaler)
	if !ok {
		return nil, fmt.Errorf("%T has no encoding", v)
	}
	var b []byte
	if s, ok := v.(msgp.Sizer); ok {
		b = make([]byte, 0, s.Msgsize())
	}
	return m.MarshalMsg(b)
}

func decode[T any](b []byte) (*T, error) {
	v := new(T)
	m, ok := any(v).(msgp.Unmarshaler)
	if !ok {
		return nil, fmt.Errorf("%T has no encoding", v)
	}
	rest, err := m.UnmarshalMsg(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the value", len(rest))
	}
	return v, nil
}

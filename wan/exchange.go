package wan

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// Bounds of what a member may send on a stream. memberlist makes room for a
// million members, some 200 MiB, on the word of the header of an exchange of
// state; what comes here must hold what it says.
const (
	// maxExchange is in bytes: the members below with tags of 512 bytes each,
	// and Serf's state.
	maxExchange = 8 << 20
	// maxExchangeMembers is ten times what 200 datacenters of 3 servers are.
	maxExchangeMembers = 8192
	// maxExchangeState is Serf's share: times and names of all members.
	maxExchangeState = 2 << 20
	// maxExchangeHead is how long label, type and header may be together.
	maxExchangeHead = 2 + 255 + 1 + 128
)

// ErrExchange is why a stream is not read on.
var ErrExchange = errors.New("refused exchange of state")

// bounded is a stream of gossip whose header is looked at before memberlist
// sees it. One goroutine reads it at a time.
type bounded struct {
	net.Conn
	refused func()

	mu   sync.Mutex
	head []byte // read and not handed on yet
	open bool   // the head was judged
	left int    // bytes that may still come
	err  error
}

func newBounded(c net.Conn, refused func()) *bounded {
	return &bounded{Conn: c, refused: refused, left: maxExchange}
}

// Read implements net.Conn.
func (b *bounded) Read(to []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.judge(); err != nil {
		return 0, err
	}
	if len(b.head) > 0 {
		n := copy(to, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	n, err := b.Conn.Read(to)
	if b.left -= n; b.left < 0 {
		return 0, b.refuse(fmt.Errorf("%w: it is longer than %d bytes", ErrExchange, maxExchange))
	}
	return n, err
}

func (b *bounded) refuse(err error) error {
	b.err = err
	b.refused()
	return err
}

// judge reads until the header is whole.
func (b *bounded) judge() error {
	for !b.open && b.err == nil {
		if done, err := judgeHead(b.head); err != nil {
			return b.refuse(err)
		} else if done {
			b.open = true
			break
		}
		part := make([]byte, maxExchangeHead)
		n, err := b.Conn.Read(part)
		b.head = append(b.head, part[:n]...)
		b.left -= n
		if n == 0 && err != nil {
			if len(b.head) == 0 {
				return err
			}
			b.open = true // let memberlist see what there is, then the error
		}
	}
	return b.err
}

// exchangeHead is what memberlist writes before the members.
type exchangeHead struct {
	Nodes        int
	UserStateLen int
}

// judgeHead tells whether the head is whole and refuses what claims too much.
func judgeHead(head []byte) (done bool, err error) {
	whole := len(head) >= maxExchangeHead
	if len(head) > 0 && head[0] == labelMessage {
		if len(head) < 2 || len(head) < 2+int(head[1]) {
			return false, nil
		}
		head = head[2+int(head[1]):]
	}
	if len(head) == 0 {
		return whole, nil
	}
	switch head[0] {
	case compressMessage:
		return false, fmt.Errorf("%w: it is compressed", ErrExchange)
	case pushPullMessage:
	default:
		return true, nil
	}
	var h exchangeHead
	if err := codec.NewDecoderBytes(head[1:], &codec.MsgpackHandle{}).Decode(&h); err != nil {
		if whole {
			return false, fmt.Errorf("%w: its header makes no sense", ErrExchange)
		}
		return false, nil
	}
	if h.Nodes < 0 || h.Nodes > maxExchangeMembers || h.UserStateLen < 0 || h.UserStateLen > maxExchangeState {
		return false, fmt.Errorf("%w: it claims %d members and %d bytes of state, %d and %d are allowed",
			ErrExchange, h.Nodes, h.UserStateLen, maxExchangeMembers, maxExchangeState)
	}
	return true, nil
}

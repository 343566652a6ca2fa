package op

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// maxNameLen bounds the name of an operation on the wire, in bytes.
const maxNameLen = 64

// The first byte of an encoded reply.
const (
	replyResult byte = 1
	replyError  byte = 2
)

// AppendHead appends what precedes the body of a call on the wire: the
// operation's name and the header.
func AppendHead(b []byte, c *Call) ([]byte, error) {
	name := c.Operation.OpName()
	if len(name) > maxNameLen {
		return nil, fmt.Errorf("operation name %q is longer than %d bytes", name, maxNameLen)
	}
	b = append(b, byte(len(name)))
	b = append(b, name...)
	return c.Header.MarshalMsg(b)
}

// ReadHead reads what AppendHead wrote and returns the rest, the body.
func ReadHead(b []byte) (name string, h Header, body []byte, err error) {
	if len(b) == 0 || int(b[0]) > maxNameLen || len(b) < 1+int(b[0]) {
		return "", h, nil, errors.New("call has no operation name")
	}
	name = string(b[1 : 1+b[0]])
	body, err = h.UnmarshalMsg(b[1+len(name):])
	if err != nil {
		return "", h, nil, fmt.Errorf("header of %q: %w", name, err)
	}
	return name, h, body, nil
}

// AppendReply appends a reply as it crosses the wire.
func AppendReply(b []byte, r *Reply) ([]byte, error) {
	body, err := r.Body()
	if err != nil {
		return nil, err
	}
	if b, err = AppendMeta(b, &r.Meta); err != nil {
		return nil, err
	}
	return append(b, body...), nil
}

// AppendMeta appends what precedes the body of a reply on the wire.
func AppendMeta(b []byte, m *Meta) ([]byte, error) {
	b = append(b, replyResult, 0, 0)
	start := len(b)
	b, err := m.MarshalMsg(b)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b, nil
}

// AppendError appends an error as it crosses the wire.
func AppendError(b []byte, err error) []byte {
	b = append(b, replyError)
	out, encErr := AsError(err).MarshalMsg(b)
	if encErr != nil { // cannot happen: three plain fields
		return b
	}
	return out
}

// ReadReply reads what AppendReply or AppendError wrote. The reply keeps b.
func ReadReply(b []byte) (*Reply, error) {
	if len(b) == 0 {
		return nil, Errorf(CodeInternal, "reply is empty")
	}
	switch b[0] {
	case replyError:
		e := new(Error)
		if _, err := e.UnmarshalMsg(b[1:]); err != nil {
			return nil, Errorf(CodeInternal, "decode error of reply: %v", err)
		}
		return nil, e
	case replyResult:
		if len(b) < 3 {
			break
		}
		n := int(binary.BigEndian.Uint16(b[1:3]))
		if len(b) < 3+n {
			break
		}
		r := &Reply{body: b[3+n:]}
		if _, err := r.Meta.UnmarshalMsg(b[3 : 3+n]); err != nil {
			return nil, Errorf(CodeInternal, "decode meta of reply: %v", err)
		}
		r.Meta.bound()
		return r, nil
	}
	return nil, Errorf(CodeInternal, "reply of %d bytes cannot be read", len(b))
}

// bound keeps what a peer says of times to what can be reckoned with.
func (m *Meta) bound() {
	m.LastContact, m.Age = clamp(m.LastContact), clamp(m.Age)
	for i := range m.Outcomes {
		m.Outcomes[i].Age = clamp(m.Outcomes[i].Age)
	}
}

func clamp(d time.Duration) time.Duration { return min(max(d, 0), Longest) }

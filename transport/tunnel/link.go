package tunnel

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

const (
	// maxQueued bounds what waits to be written, in bytes; packets beyond it are dropped.
	maxQueued = 256 << 10
	// head is the length before each packet, in bytes.
	head = 2
	// restEvery is how often a length of zero is sent, so that the other end knows that this
	// one lives; silentAfter is how long nothing at all may come, and stuckAfter how long the
	// other end may not read.
	restEvery   = 5 * time.Second
	silentAfter = 20 * time.Second
	stuckAfter  = 10 * time.Second
	// readAhead is how much is read at a time.
	readAhead = 64 << 10
)

var (
	errTooLong = fmt.Errorf("it announces a packet of more than %d bytes", relay.MaxPacket)
	errClosed  = errors.New("it was closed here")
)

// link is one tunnel. Its writer and its reader end when the connection does.
type link struct {
	conn    net.Conn
	peer    identity.Peer
	metrics *metrics
	deliver func(b []byte) bool
	limit   *rate.Limiter // in bytes a second of what comes; nil for none
	gone    chan struct{} // closed when it has ended
	once    sync.Once
	why     error // why it ended, before gone is closed

	mu     sync.Mutex
	queue  []byte
	filled chan struct{} // there is something in the queue
	came   atomic.Int64  // when the last packet came, Unix nanoseconds
}

var _ relay.Tunnel = (*link)(nil)

func newLink(conn net.Conn, peer identity.Peer, m *metrics, deliver func([]byte) bool) *link {
	l := &link{conn: conn, peer: peer, metrics: m, deliver: deliver, gone: make(chan struct{}), filled: make(chan struct{}, 1)}
	l.came.Store(time.Now().UnixNano())
	return l
}

// run carries packets until the tunnel ends; its goroutines are the group's.
func (l *link) run(group *lifecycle.Group) error {
	err := group.Spawn("tunnel out", func(ctx context.Context) { l.end(l.write(ctx)) })
	if err == nil {
		err = group.Spawn("tunnel in", func(context.Context) { l.end(l.read()) })
	}
	if err != nil {
		l.end(err)
	}
	return err
}

// end closes the tunnel; the first reason counts.
func (l *link) end(why error) {
	l.once.Do(func() {
		l.why = why
		_ = l.conn.SetDeadline(time.Unix(1, 0)) // the farewell of TLS must not wait for who does not read
		_ = l.conn.Close()
		close(l.gone)
	})
}

// Seen implements relay.Tunnel.
func (l *link) Seen() string { return l.conn.RemoteAddr().String() }

// Send implements relay.Tunnel.
func (l *link) Send(b []byte) {
	l.mu.Lock()
	fits := len(b) > 0 && len(b) <= relay.MaxPacket && len(l.queue)+head+len(b) <= maxQueued
	if fits {
		l.queue = append(binary.BigEndian.AppendUint16(l.queue, uint16(len(b))), b...)
	}
	l.mu.Unlock()
	if !fits {
		l.metrics.dropped.Inc()
		return
	}
	select {
	case l.filled <- struct{}{}:
	default: // the writer is about to look
	}
}

// write writes what waits, all of it at once.
func (l *link) write(ctx context.Context) error {
	rest := time.NewTicker(restEvery)
	defer rest.Stop()
	var out []byte
	for {
		select {
		case <-ctx.Done():
			return errClosed
		case <-l.gone:
			return errClosed
		case <-rest.C:
			out = append(out[:0], 0, 0)
		case <-l.filled:
			l.mu.Lock()
			out, l.queue = l.queue, out[:0]
			l.mu.Unlock()
		}
		if err := l.conn.SetWriteDeadline(time.Now().Add(stuckAfter)); err != nil {
			return err
		}
		if _, err := l.conn.Write(out); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		l.metrics.out.Add(float64(len(out)))
	}
}

// read delivers what comes.
func (l *link) read() error {
	r := bufio.NewReaderSize(l.conn, readAhead)
	var b [relay.MaxPacket]byte
	for {
		if r.Buffered() < head {
			if err := l.conn.SetReadDeadline(time.Now().Add(silentAfter)); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(r, b[:head]); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		n := int(binary.BigEndian.Uint16(b[:]))
		if n > len(b) {
			return errTooLong
		}
		if _, err := io.ReadFull(r, b[:n]); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		now := time.Now()
		l.metrics.in.Add(float64(head + n))
		switch {
		case n == 0:
			continue
		case l.limit != nil && !l.limit.AllowN(now, n), !l.deliver(b[:n]):
			l.metrics.dropped.Inc()
		}
		l.came.Store(now.UnixNano())
	}
}

// idle is how long no packet has come.
func (l *link) idle() time.Duration { return time.Since(time.Unix(0, l.came.Load())) }

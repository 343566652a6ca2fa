package feed

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Bounds of what peers may have pushed to them. Each subscription is a
// goroutine and a stream here.
const (
	maxSubscriptions = 8192 // of one endpoint; half of what it serves at all
	maxOfPeer        = 4096 // of one agent: the streams of one connection
	// maxRequest bounds the call, in bytes: reads are small. Who asks for more is
	// told so at its own end.
	maxRequest = 64 << 10
	// askTimeout is how long the call may take to arrive.
	askTimeout = 5 * time.Second
)

// Server serves subscriptions of one endpoint. It is safe for concurrent use.
type Server struct {
	source     op.Subscriber
	relay      op.Subscriber // nil unless Relay was called
	operations map[string]op.Operation
	metrics    *metrics

	mu    sync.Mutex
	total int
	peers map[string]int // by node ID
}

// NewServer returns a Server that lets source carry out subscriptions to the
// operations. The network is its name in metrics.
func NewServer(source op.Subscriber, operations []op.Operation, network string, r prometheus.Registerer) *Server {
	s := &Server{source: source, operations: make(map[string]op.Operation, len(operations)), peers: map[string]int{},
		metrics: newMetrics(prometheus.WrapRegistererWith(prometheus.Labels{"network": network}, r))}
	for _, o := range operations {
		if o.OpKind() == op.KindRead {
			s.operations[o.OpName()] = o
		}
	}
	return s
}

// Relay has subscriptions that another server passes on carried out by another source:
// who asked that server is known there.
func (s *Server) Relay(source op.Subscriber) { s.relay = source }

// Protocol serves those that admit lets in.
func (s *Server) Protocol(admit func(identity.Peer) error) transport.Protocol {
	return transport.Protocol{Admit: admit, PoolSize: poolSize, Serve: func(ctx context.Context, from transport.Remote, stream transport.Stream) {
		if err := s.serve(ctx, from.Peer, stream); err != nil {
			stream.Cancel()
		}
	}}
}

// serve answers one stream. An error says that the peer cannot be told anything
// any more.
func (s *Server) serve(ctx context.Context, from identity.Peer, stream transport.Stream) error {
	if err := stream.SetReadDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	b, err := transport.ReadFrame(stream, maxRequest)
	if err != nil {
		return err
	}
	out := &steady{stream}
	err = s.follow(ctx, from, out, b)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return transport.WriteFrame(out, op.AppendError(nil, err))
}

// follow pushes until the peer is gone or the source ends; the error is for the
// peer.
func (s *Server) follow(ctx context.Context, from identity.Peer, out *steady, request []byte) error {
	name, h, body, err := op.ReadHead(request)
	if err != nil {
		return op.Errorf(op.CodeInvalid, "read subscription: %v", err)
	}
	o := s.operations[name]
	if o == nil {
		return op.Errorf(op.CodeUnsupported, "operation %q cannot be followed on this server", name)
	}
	if h.Hops > op.MaxHops {
		return op.Errorf(op.CodeInvalid, "%s was forwarded more than %d times", name, op.MaxHops)
	}
	if err := s.enter(from.NodeID); err != nil {
		return err
	}
	defer s.leave(from.NodeID)
	if err := s.push(out, name, op.NewReply(op.Meta{}, nil)); err != nil { // the result may take a while
		return err
	}
	source := s.source
	if s.relay != nil && from.Server && h.Relayed {
		source = s.relay
	}
	err = source.Subscribe(op.WithFollower(ctx, from.Datacenter), op.Received(o, h, body), func(r *op.Reply) error { return s.push(out, name, r) })
	if err == nil {
		err = op.Errorf(op.CodeInternal, "%s is no longer followed here", name)
	}
	return err
}

func (s *Server) push(out *steady, name string, r *op.Reply) error {
	body, err := r.Body() // of a shared result: one for all who follow it
	if err != nil {
		return fmt.Errorf("encode result of %s: %w", name, err)
	}
	head, err := op.AppendMeta(make([]byte, 0, 256), &r.Meta)
	if err != nil {
		return fmt.Errorf("encode meta of %s: %w", name, err)
	}
	size := len(head) + len(body)
	if size > transport.MaxResponse {
		return op.Errorf(op.CodeTooLarge, "result of %s has %d bytes, more than the %d that agents send each other", name, size, transport.MaxResponse)
	}
	if err := transport.WriteFrame(out, head, body); err != nil {
		return op.Errorf(op.CodeLost, "push result of %s: %v", name, err)
	}
	if r.Meta.Index > 0 {
		s.metrics.pushes.Inc()
		s.metrics.bytes.Add(float64(size))
	}
	return nil
}

func (s *Server) enter(peer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxSubscriptions || s.peers[peer] >= maxOfPeer {
		s.metrics.refused.Inc()
		return op.Errorf(op.CodeBusy, "too many subscriptions: at most %d, %d of one agent", maxSubscriptions, maxOfPeer)
	}
	s.total++
	s.peers[peer]++
	s.metrics.subscriptions.Inc()
	return nil
}

func (s *Server) leave(peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.peers[peer]--; s.peers[peer] <= 0 {
		delete(s.peers, peer)
	}
	s.metrics.subscriptions.Dec()
}

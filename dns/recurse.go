package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/config"
)

// Bounds of what is asked of recursors.
const (
	// maxRecursing bounds the questions that wait for recursors, maxRecursingEach
	// those of one client. It is half of what one socket's workers may be, so that
	// there is always somebody to answer from the catalog.
	maxRecursing, maxRecursingEach = maxWorkers / 2, 128
	// recursionTime bounds how long all recursors together may take: resolvers ask
	// again after 5 s, and few wait for longer than twice that.
	recursionTime = 10 * time.Second
	// maxIgnored bounds the packets that are read of a recursor in wait for the one
	// that answers the question.
	maxIgnored = 32
	// recursorSize is the largest answer that is asked of a recursor in a UDP packet.
	recursorSize = 4096
	// restFor is how long a recursor that did not answer is asked after the others.
	restFor = 10 * time.Second
	// recursorTimeout of one recursor unless configured.
	recursorTimeout = 2 * time.Second
	dnsPort         = 53
)

// recursors are DNS servers that answer for names outside the domains.
type recursors struct {
	list    []*recursor
	random  bool
	timeout time.Duration
}

type recursor struct {
	addr  string
	rests atomic.Int64 // until when it is asked after the others, in Unix nanoseconds
}

// newRecursors reads addresses, each an IP address with or without port; nil for
// none.
func newRecursors(addrs []string, c *config.DNSConfig) (*recursors, error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	r := &recursors{random: c.RecursorStrategy == "random", timeout: c.RecursorTimeout}
	if r.timeout <= 0 {
		r.timeout = recursorTimeout
	}
	for _, a := range addrs {
		at, err := netip.ParseAddrPort(a)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(a); err != nil {
				return nil, fmt.Errorf("recursor %q is neither an IP address nor ip:port", a)
			}
			at = netip.AddrPortFrom(ip, dnsPort)
		}
		r.list = append(r.list, &recursor{addr: at.String()})
	}
	return r, nil
}

// order lists the recursors as they are to be asked.
func (r *recursors) order() []*recursor {
	list := slices.Clone(r.list)
	if r.random {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	now := time.Now().UnixNano()
	resting := func(r *recursor) int {
		if r.rests.Load() > now {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b *recursor) int { return resting(a) - resting(b) })
	return list
}

// recursion is what is being asked of recursors.
type recursion struct {
	metrics *metrics
	places  *clientLimit

	mu      sync.Mutex
	flights map[string]*flight // by question
}

// flight is one question on its way. Who asks the same meanwhile waits for its
// answer: that spares the recursors, and a question that comes back to us, because
// a recursor asks us, goes no further.
type flight struct {
	done   chan struct{}
	answer *mdns.Msg // not to be changed
	err    error
}

var (
	errBusy     = errors.New("too many questions wait for recursors")
	errNoAnswer = errors.New("no recursor has an answer")
)

func newRecursion(m *metrics, p *clientLimit) *recursion {
	return &recursion{metrics: m, places: p, flights: map[string]*flight{}}
}

// ask returns the recursors' answer to m, which says NOERROR or NXDOMAIN.
func (n *recursion) ask(ctx context.Context, of *recursors, client netip.Addr, m *mdns.Msg) (*mdns.Msg, error) {
	if !n.places.tryAcquire(client) {
		n.metrics.recursed[recursionRefused].Inc()
		return nil, errBusy
	}
	defer n.places.release(client)
	n.metrics.recursing.Inc()
	defer n.metrics.recursing.Dec()
	key, err := keyOf(m)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	f, joined := n.flights[key]
	if !joined {
		f = &flight{done: make(chan struct{}), err: errNoAnswer}
		n.flights[key] = f
	}
	n.mu.Unlock()
	if joined {
		select {
		case <-f.done:
			n.metrics.recursed[recursionShared].Inc()
			return f.answer, f.err
		case <-ctx.Done():
			n.metrics.recursed[recursionFailed].Inc()
			return nil, ctx.Err()
		}
	}
	defer func() { // also when asking panics
		n.mu.Lock()
		delete(n.flights, key)
		n.mu.Unlock()
		close(f.done)
	}()
	if f.answer, f.err = of.ask(ctx, n.metrics, m); f.err != nil {
		n.metrics.recursed[recursionFailed].Inc()
	} else {
		n.metrics.recursed[recursionAnswered].Inc()
	}
	return f.answer, f.err
}

// keyOf is the same for two messages that ask the same.
func keyOf(m *mdns.Msg) (string, error) {
	same := *m
	same.Id = 0
	same.Question = slices.Clone(m.Question)
	same.Question[0].Name = strings.ToLower(m.Question[0].Name)
	b, err := same.Pack()
	return string(b), err
}

// ask asks one recursor after the other.
func (r *recursors) ask(ctx context.Context, m *metrics, q *mdns.Msg) (*mdns.Msg, error) {
	ctx, stop := context.WithTimeout(ctx, recursionTime)
	defer stop()
	var why error
	for _, at := range r.order() {
		answer, err := at.ask(ctx, r.timeout, q)
		switch {
		case err == nil && (answer.Rcode == mdns.RcodeSuccess || answer.Rcode == mdns.RcodeNameError):
			m.recursorAnswers[recursorUsed].Inc()
			return answer, nil
		case err == nil:
			m.recursorAnswers[recursorRefused].Inc()
			err = fmt.Errorf("it answers %s", mdns.RcodeToString[answer.Rcode])
		case ctx.Err() != nil:
			return nil, errors.Join(why, ctx.Err())
		default:
			m.recursorAnswers[recursorSilent].Inc()
			at.rests.Store(time.Now().Add(restFor).UnixNano())
		}
		why = errors.Join(why, fmt.Errorf("recursor %s: %w", at.addr, err))
	}
	return nil, errors.Join(errNoAnswer, why)
}

// ask asks the recursor: again over TCP for an answer that does not fit into a
// packet, and without EDNS (RFC 6891, section 6.2.2) if it does not know that.
func (r *recursor) ask(ctx context.Context, timeout time.Duration, q *mdns.Msg) (*mdns.Msg, error) {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	q = q.Copy()
	answer, err := r.exchange(ctx, "udp", q)
	if err == nil && answer.Rcode == mdns.RcodeFormatError && q.IsEdns0() != nil && answer.IsEdns0() == nil {
		q.Extra = nil
		answer, err = r.exchange(ctx, "udp", q)
	}
	if err != nil || !answer.Truncated {
		return answer, err
	}
	whole, err := r.exchange(ctx, "tcp", q)
	if err != nil {
		return answer, nil // the client may have another way
	}
	return whole, nil
}

// exchange sends the question from a socket of its own, with a random ID, and waits
// for the answer to it. What else comes over UDP is not the recursor's, or late.
func (r *recursor) exchange(ctx context.Context, network string, q *mdns.Msg) (*mdns.Msg, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, r.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	q.Id = mdns.Id()
	c := &mdns.Conn{Conn: conn, UDPSize: recursorSize}
	if err := c.WriteMsg(q); err != nil {
		return nil, err
	}
	for range maxIgnored {
		answer, err := c.ReadMsg()
		var broken net.Error
		switch {
		case err == nil && isAnswer(q, answer):
			return answer, nil
		case errors.As(err, &broken):
			return nil, errors.Join(err, ctx.Err())
		case network == "tcp":
			return nil, errors.Join(errMismatch, err)
		}
	}
	return nil, errMismatch
}

var errMismatch = errors.New("what comes is no answer to the question")

// isAnswer reports whether a message answers a question. Some say without repeating
// it that they could not read it.
func isAnswer(q, m *mdns.Msg) bool {
	if !m.Response || m.Id != q.Id || m.Opcode != mdns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode != mdns.RcodeSuccess && m.Rcode != mdns.RcodeNameError
	}
	asked, said := q.Question[0], m.Question[0]
	return len(m.Question) == 1 && strings.EqualFold(asked.Name, said.Name) && asked.Qtype == said.Qtype && asked.Qclass == said.Qclass
}

// recurses reports whether the client may have recursors asked.
func (x *exchange) recurses() bool {
	return x.conf.recursors != nil && x.via == nil && x.req.RecursionDesired && x.req.Question[0].Qclass == mdns.ClassINET
}

// recurse answers with what the recursors say.
func (x *exchange) recurse() int {
	x.out.Authoritative, x.out.Ns = false, x.out.Ns[:0]
	x.lookups = noneLasts
	r, err := x.recursion.ask(x.recursorCtx, x.conf.recursors, x.from, x.upstream())
	if err != nil {
		x.fresh = failed
		x.s.log.Debug("recursion failed", "question", x.owner, "error", err)
		return mdns.RcodeServerFailure
	}
	x.out.AuthenticatedData, x.truncated, x.recursed = r.AuthenticatedData, r.Truncated, r
	for _, rr := range r.Answer {
		x.add(rr)
	}
	x.out.Ns = append(x.out.Ns, r.Ns...)
	for _, rr := range r.Extra {
		if rr.Header().Rrtype != mdns.TypeOPT {
			x.additional = append(x.additional, rr)
		}
	}
	return r.Rcode
}

// upstream is the client's question as recursors are asked it.
func (x *exchange) upstream() *mdns.Msg {
	m := &mdns.Msg{Question: []mdns.Question{x.req.Question[0]}}
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = true, x.req.CheckingDisabled, x.req.AuthenticatedData
	asked := x.req.IsEdns0()
	if asked == nil {
		return m
	}
	o := &mdns.OPT{Hdr: mdns.RR_Header{Name: ".", Rrtype: mdns.TypeOPT}}
	o.SetUDPSize(min(max(asked.UDPSize(), mdns.MinMsgSize), recursorSize))
	o.SetDo(asked.Do())
	o.Option = passedOn(asked.Option)
	m.Extra = []mdns.RR{o}
	return m
}

// passedOn are the options that are not between a client and the server that it
// speaks with.
func passedOn(options []mdns.EDNS0) (out []mdns.EDNS0) {
	for _, o := range options {
		switch o.Option() {
		case mdns.EDNS0COOKIE, mdns.EDNS0TCPKEEPALIVE, mdns.EDNS0PADDING, mdns.EDNS0NSID:
		default:
			out = append(out, o)
		}
	}
	return out
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// outcome of one load.
type outcome struct {
	rate     float64 // answers a second
	p50, p99 time.Duration
	errors   int
	first    error
}

// one is one connection of a load: it asks once and waits for the answer.
type one interface {
	ask(ctx context.Context) error
	close() error
}

// load asks on n connections as fast as answers come, for the time given,
// after a short warm-up.
func load(ctx context.Context, n int, d time.Duration, dial func(i int) (one, error)) (outcome, error) {
	const warmUp = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, d+warmUp)
	defer cancel()
	var mu sync.Mutex
	var all []time.Duration
	var out outcome
	ended := 0 // answers within the time, also to what was asked before it
	var wg sync.WaitGroup
	begin := time.Now().Add(warmUp)
	for i := range n {
		c, err := dial(i)
		if err != nil {
			return out, err
		}
		wg.Go(func() {
			defer c.close()
			mine, n, errs, first := worker(ctx, c, begin)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			ended += n
			out.errors += errs
			if out.first == nil {
				out.first = first
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if len(all) > 0 {
		out.p50, out.p99 = all[len(all)/2], all[len(all)*99/100]
	}
	out.rate = float64(ended) / d.Seconds()
	if out.errors > len(all)/1000 {
		return out, fmt.Errorf("%d of %d requests failed: %w", out.errors, len(all)+out.errors, out.first)
	}
	return out, nil
}

// rounds of a comparison: the speed of a shared machine drifts within seconds.
const rounds = 3

// compare loads a subject and its reference in turn, several times, so that
// both see the same machine, and returns the subject's outcome and the ratio of
// the rates.
func compare(ctx context.Context, n int, d time.Duration, reference, subject func(int) (one, error)) (outcome, float64, error) {
	var sum outcome
	var bare float64
	for range rounds {
		ref, err := load(ctx, n, d/rounds, reference)
		if err != nil {
			return sum, 0, fmt.Errorf("reference: %w", err)
		}
		out, err := load(ctx, n, d/rounds, subject)
		if err != nil {
			return sum, 0, err
		}
		bare += ref.rate / rounds
		sum.rate += out.rate / rounds
		sum.p50 += out.p50 / rounds
		sum.p99 += out.p99 / rounds
	}
	return sum, sum.rate / bare, nil
}

func worker(ctx context.Context, c one, begin time.Time) (took []time.Duration, ended, errs int, first error) {
	const maxErrors = 1000
	for ctx.Err() == nil && errs < maxErrors {
		start := time.Now()
		err := c.ask(ctx)
		if ctx.Err() != nil {
			return took, ended, errs, first
		}
		if err != nil {
			errs++
			if first == nil {
				first = err
			}
			continue
		}
		now := time.Now()
		if now.After(begin) {
			ended++
		}
		if start.After(begin) {
			took = append(took, now.Sub(start))
		}
	}
	return took, ended, errs, first
}

// httpConn sends the same request again and again on one connection. It reads
// just as much of an answer as it must, so that the load costs little.
type httpConn struct {
	conn    net.Conn
	r       *bufio.Reader
	request []byte
	want    []byte
	buf     []byte
	index   uint64 // X-Consul-Index of the last answer
}

func dialHTTP(addr, method, path string, body []byte) (one, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	req := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, addr)
	if body != nil {
		req = fmt.Appendf(req, "Content-Length: %d\r\n", len(body))
	}
	req = append(append(req, "\r\n"...), body...)
	return &httpConn{conn: conn, r: bufio.NewReaderSize(conn, 16<<10), request: req, want: []byte("HTTP/1.1 200"), buf: make([]byte, 16<<10)}, nil
}

func (c *httpConn) close() error { return c.conn.Close() }

func (c *httpConn) ask(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok {
		if err := c.conn.SetDeadline(d.Add(time.Second)); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(status, c.want)
	line := ""
	if !ok {
		line = string(status)
	}
	length, err := c.headers()
	if err != nil {
		return err
	}
	if length > len(c.buf) {
		c.buf = make([]byte, length)
	}
	if _, err := io.ReadFull(c.r, c.buf[:length]); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s: %s", line, c.buf[:length])
	}
	return nil
}

func (c *httpConn) headers() (length int, err error) {
	key, indexKey := []byte("content-length:"), []byte("x-consul-index:")
	for {
		h, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(h) <= 2 {
			return length, nil
		}
		if len(h) > len(indexKey) && bytes.EqualFold(h[:len(indexKey)], indexKey) {
			if c.index, err = strconv.ParseUint(string(bytes.TrimSpace(h[len(indexKey):])), 10, 64); err != nil {
				return 0, err
			}
		}
		if len(h) > len(key) && bytes.EqualFold(h[:len(key)], key) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(h[len(key):]))); err != nil {
				return 0, err
			}
		}
	}
}

// dnsConn sends the same question again and again from one socket.
type dnsConn struct {
	conn  net.Conn
	query []byte
	buf   []byte
}

func dialDNS(addr string, query []byte) (one, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, err
	}
	return &dnsConn{conn: conn, query: slices.Clone(query), buf: make([]byte, 4096)}, nil
}

func (c *dnsConn) close() error { return c.conn.Close() }

func (c *dnsConn) ask(context.Context) error {
	c.query[1]++
	if err := c.conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.query); err != nil {
		return err
	}
	n, err := c.conn.Read(c.buf)
	if err != nil {
		return err
	}
	const header, answers = 12, 7
	if n < header || c.buf[1] != c.query[1] || c.buf[3]&0xf != 0 || c.buf[answers] == 0 {
		return fmt.Errorf("answer of %d bytes, code %d, %d records", n, c.buf[3]&0xf, c.buf[answers])
	}
	return nil
}

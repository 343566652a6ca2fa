package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/transport/chunk"
)

func echoed(_ context.Context, _ Remote, request []byte) []byte { return request }

// sharing returns two endpoints whose requests share streams; y answers.
func sharing(t testing.TB, answer func(context.Context, Remote, []byte) []byte) (x, y *Endpoint) {
	protocol := func(c *Config) {
		c.Protocols = map[string]Protocol{testProtocol: {Answer: answer, Shared: true, PoolSize: 1}}
	}
	return endpoint(t, derived(t, testKey(1), server("x")), protocol), endpoint(t, derived(t, testKey(1), server("y")), protocol)
}

// muxOf returns the open multiplexed stream from x to y.
func muxOf(t *testing.T, x *Endpoint) *muxStream {
	t.Helper()
	for _, c := range x.snapshot() {
		if l := c.shared(); l != nil {
			return l
		}
	}
	t.Fatal("no multiplexed stream is open")
	return nil
}

func TestRequestsShareAStream(t *testing.T) {
	x, y := sharing(t, echoed)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for _, size := range []int{0, 1, 300, chunk.Max - 1, chunk.Max, chunk.Max + 1, 3*chunk.Max + 5} {
				body := bytes.Repeat([]byte{byte(i)}, size)
				got, err := x.RoundTrip(t.Context(), to(y), testProtocol, body[:size/3], body[size/3:])
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes: got %d, %v", size, len(got), err)
				}
			}
		})
	}
	wg.Wait()
	l := muxOf(t, x)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) != 0 || l.c.inFlight.Load() != 0 {
		t.Errorf("%d requests are remembered, %d in flight", len(l.calls), l.c.inFlight.Load())
	}
}

// A long answer comes whole, and a short one does not wait for it.
func TestLongAnswerOnASharedStream(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	x, y := sharing(t, func(_ context.Context, _ Remote, r []byte) []byte {
		if string(r) == "long" {
			return long
		}
		return r
	})
	done := make(chan error, 1)
	go func() {
		got, err := x.RoundTrip(t.Context(), to(y), testProtocol, nil, []byte("long"))
		if err == nil && !bytes.Equal(got, long) {
			err = fmt.Errorf("%d bytes, other than sent", len(got))
		}
		done <- err
	}()
	for range 20 {
		if _, err := x.RoundTrip(t.Context(), to(y), testProtocol, nil, []byte("short")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestGivingUpEndsTheRequestAtThePeer(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	x, y := sharing(t, func(ctx context.Context, _ Remote, r []byte) []byte {
		if string(r) == "wait" {
			close(begun)
			<-ctx.Done()
			close(ended)
		}
		return r
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	_, err := x.RoundTrip(ctx, to(y), testProtocol, nil, []byte("wait"))
	if !errors.Is(err, ErrLost) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-ended
	if got, err := x.RoundTrip(t.Context(), to(y), testProtocol, nil, []byte("next")); err != nil || string(got) != "next" {
		t.Errorf("the stream does not go on: %q %v", got, err)
	}
}

func TestRequestsOnALostConnectionFail(t *testing.T) {
	begun := make(chan struct{}, 1)
	x, y := sharing(t, func(ctx context.Context, _ Remote, r []byte) []byte {
		begun <- struct{}{}
		<-ctx.Done()
		return r
	})
	failed := make(chan error, 1)
	go func() {
		_, err := x.RoundTrip(t.Context(), to(y), testProtocol, nil, []byte("wait"))
		failed <- err
	}()
	<-begun
	for _, c := range y.snapshot() {
		c.close(codeShutdown, "shutting down")
	}
	if err := <-failed; !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
}

// A peer that dies while it works on a request, which it has acknowledged, is noticed
// although the caller set no deadline and sends nothing more; one that lives is not
// given up.
func TestDeafPeerEndsSharedRequests(t *testing.T) {
	t.Parallel()
	frozen, begun := make(chan struct{}), make(chan struct{}, 1)
	shared := Protocol{Shared: true, Answer: func(ctx context.Context, _ Remote, r []byte) []byte {
		begun <- struct{}{}
		<-ctx.Done()
		return r
	}}
	conn := listenUDP(t, "127.0.0.1:0")
	const patience = 200 * time.Millisecond
	x := endpoint(t, derived(t, testKey(1), server("x")), func(c *Config) {
		c.Protocols[testProtocol], c.DeafAfter = shared, patience
	})
	y := endpoint(t, derived(t, testKey(1), server("y")), func(c *Config) {
		c.Protocols[testProtocol] = shared
		c.Conn = &deafConn{PacketConn: conn, deaf: frozen}
	})
	failed := make(chan error, 1)
	go func() {
		_, err := x.RoundTrip(t.Context(), to(y), testProtocol, nil, []byte("wait"))
		failed <- err
	}()
	<-begun
	select {
	case err := <-failed:
		t.Fatalf("given up although the peer lives: %v", err)
	case <-time.After(3 * patience):
	}
	close(frozen)
	start := time.Now()
	if err := <-failed; !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 10*patience {
		t.Errorf("noticed after %s", took)
	}
}

// A peer that died while it was listened to, after it had answered what was
// listened for, is noticed as soon as one that was dead before.
func TestAPeerThatDiesBetweenRequestsIsNoticed(t *testing.T) {
	t.Parallel()
	frozen := make(chan struct{})
	shared := Protocol{Shared: true, Answer: func(_ context.Context, _ Remote, r []byte) []byte { return r }}
	conn := listenUDP(t, "127.0.0.1:0")
	const patience = 500 * time.Millisecond
	x := endpoint(t, derived(t, testKey(1), server("x")), func(c *Config) {
		c.Protocols[testProtocol], c.DeafAfter = shared, patience
	})
	y := endpoint(t, derived(t, testKey(1), server("y")), func(c *Config) {
		c.Protocols[testProtocol] = shared
		c.Conn = &deafConn{PacketConn: conn, deaf: frozen}
	})
	if _, err := x.RoundTrip(within(t, 5*time.Second), to(y), testProtocol, nil, []byte("first")); err != nil {
		t.Fatal(err)
	}
	close(frozen)
	start := time.Now()
	_, err := x.RoundTrip(within(t, 30*time.Second), to(y), testProtocol, nil, []byte("second"))
	if took := time.Since(start); !errors.Is(err, ErrLost) || took < patience || took > 3*patience {
		t.Errorf("%v after %s", err, took)
	}
}

// chunks is a raw multiplexed stream to y.
func chunks(t *testing.T, x, y *Endpoint) Stream {
	t.Helper()
	s, err := x.Open(t.Context(), to(y), testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s
}

func piece(id uint32, flags byte, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	return append(append(b, flags, byte(len(data)>>8), byte(len(data))), data...)
}

func TestWhoBreaksTheRulesOfALaneIsCutOff(t *testing.T) {
	x, y := sharing(t, func(ctx context.Context, _ Remote, r []byte) []byte {
		<-ctx.Done()
		return r
	})
	for name, bytes := range map[string][]byte{
		"number used twice": append(piece(1, 0, "a"), piece(1, 0, "b")...),
		"chunk too long":    {0, 0, 0, 1, 0, 0xff, 0xff},
	} {
		s := chunks(t, x, y)
		if _, err := s.Write(bytes); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: the stream goes on: %v", name, err)
		}
	}
	s := chunks(t, x, y) // cancelling what is unknown is no fault
	if _, err := s.Write(append(piece(9, chunk.Cancel, ""), append(piece(2, 0, "x"), piece(2, chunk.Cancel, "")...)...)); err != nil {
		t.Fatal(err)
	}
}

// Who asks and asks and reads no answers is refused more, and what is held for
// it stays within bounds.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	var begun atomic.Int64
	x, y := sharing(t, func(_ context.Context, _ Remote, r []byte) []byte {
		begun.Add(1)
		return bytes.Repeat(r, 64)
	})
	s := chunks(t, x, y)
	request := string(bytes.Repeat([]byte("r"), 8<<10))
	for id := range uint32(4 * maxStreams) {
		if _, err := s.Write(piece(id, 0, request)); err != nil {
			break // cut off
		}
	}
	if n := begun.Load(); n > 2*maxStreams {
		t.Errorf("%d requests were begun", n)
	}
	s.Cancel()
}

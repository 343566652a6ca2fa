package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/transport/authority"
)

// servingTLS is serving over TLS; the client asks for no authority.
func servingTLS(t *testing.T, w *world, handshake time.Duration) (address string, client *http.Client, stop func() error) {
	t.Helper()
	made, err := authority.New(authority.Settings{Domain: "consul", Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(made.Certificate, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- w.ServeTLS(ctx, l, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}, handshake)
	}()
	stop = func() error { cancel(); return <-done }
	t.Cleanup(cancel)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it has no names
	t.Cleanup(transport.CloseIdleConnections)
	return l.Addr().String(), &http.Client{Transport: transport}, stop
}

// ended waits until the other side has ended the connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open; %d bytes came", n)
	}
}

// Who does not finish its handshake, or sends no headers after it, is not waited for.
func TestHandshakesAreBounded(t *testing.T) {
	address, _, stop := servingTLS(t, start(t), 100*time.Millisecond)
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	ended(t, raw)
	mute, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ended(t, mute)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A connection above the limit is closed before its handshake, and the others serve.
func TestConnectionsOverTLSAreBounded(t *testing.T) {
	address, client, _ := servingTLS(t, start(t, func(c *Config) { c.Gate = admission.New(admission.Bounds{Each: 1}, nil) }), time.Second)
	get := func() error {
		r, err := client.Get("https://" + address + "/v1/status/leader")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK || r.ProtoMajor != 2 {
			t.Errorf("answered %s %s, %v", r.Proto, r.Status, err)
		}
		return nil
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a connection above the limit finishes its handshake")
		_ = c.Close()
	}
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("it was closed after %s", took)
	}
	if err := get(); err != nil {
		t.Errorf("the first connection: %v", err)
	}
}

// Who waits over HTTP/2 is answered when the server stops, and the server waits for no
// idle connection.
func TestStopOverHTTP2(t *testing.T) {
	w := start(t)
	address, client, stop := servingTLS(t, w, time.Second)
	got := make(chan int, 1)
	go func() {
		r, err := client.Get("https://" + address + "/v1/kv/a?index=7&wait=5m")
		if err != nil {
			got <- 0
			return
		}
		_ = r.Body.Close()
		got <- r.StatusCode
	}()
	waiting(t, w, 1)
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if status := <-got; status != http.StatusServiceUnavailable {
		t.Errorf("who waited got %d", status)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

// Requests over HTTP/2 that are under way are bounded for each address, on however few
// connections.
func TestStreamsOfOneAddressAreBounded(t *testing.T) {
	w := start(t)
	w.streams = admission.New(admission.Bounds{Each: 3}, nil)
	address, client, _ := servingTLS(t, w, time.Second)
	get := func(ctx context.Context, path string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Do(req)
		if err != nil {
			return 0, ""
		}
		defer r.Body.Close()
		return r.StatusCode, r.Header.Get("X-Legate-Reason")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { get(ctx, "/v1/kv/a?index=1000000&wait=60s") })
	}
	open := func(want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; <-time.After(5 * time.Millisecond) {
			if n, _ := w.streams.Open(); n == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%d requests are under way, want %d", n, want)
			}
		}
	}
	open(3)
	if status, reason := get(t.Context(), "/v1/status/leader"); status != http.StatusTooManyRequests || reason != "busy" {
		t.Errorf("a fourth: %d %q", status, reason)
	}
	cancel()
	wg.Wait()
	open(0)
	if status, _ := get(t.Context(), "/v1/status/leader"); status != http.StatusOK {
		t.Errorf("after they have gone: %d", status)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	for _, c := range []struct {
		conf, size, want int
	}{{0, 60_000, 200}, {0, 80_000, 431}, {200_000, 150_000, 200}} {
		url, stop := serving(t, start(t, httpConfig(config.HTTPConfig{MaxHeaderBytes: c.conf})))
		req, err := http.NewRequest(http.MethodGet, url+"/v1/status/leader", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Big", strings.Repeat("x", c.size))
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); r.StatusCode != c.want {
			t.Errorf("max_header_bytes %d, a header of %d bytes: %d, want %d", c.conf, c.size, r.StatusCode, c.want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

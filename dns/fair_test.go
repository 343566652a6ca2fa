package dns

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestOneClientCannotTakeAllConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &fairListener{inner, newClientLimit(0, maxTCPEach)}
	defer l.Close()
	accepted := make(chan net.Conn, maxTCPEach+2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var first net.Conn
	for i := range maxTCPEach {
		dial("127.0.0.2")
		if c := <-accepted; i == 0 {
			first = c
		}
	}
	over := dial("127.0.0.2")
	if err := over.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection too many: %v", err)
	}
	dial("127.0.0.3") // another client still gets in
	<-accepted
	if err := errors.Join(first.Close(), first.Close()); err == nil {
		t.Error("closing twice is no error")
	}
	dial("127.0.0.2") // what was closed is free again
	<-accepted
}

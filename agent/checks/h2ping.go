package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"golang.org/x/net/http2"

	"github.com/legate-project/legate/config"
)

// h2Probe sends an HTTP/2 PING (RFC 9113, section 6.7) and waits for its
// acknowledgement.
type h2Probe struct {
	addr string
	tls  *tls.Config // nil for plain text
}

func newH2Ping(d *config.CheckDefinition) (Prober, error) {
	host, _, err := net.SplitHostPort(d.H2Ping)
	if err != nil {
		return nil, fmt.Errorf("check %q: %q is no host:port", d.Name, d.H2Ping)
	}
	p := &h2Probe{addr: d.H2Ping}
	if d.H2PingUseTLS {
		p.tls = &tls.Config{ServerName: host, InsecureSkipVerify: d.TLSSkipVerify, NextProtos: []string{http2.NextProtoTLS}}
		if d.TLSServerName != "" {
			p.tls.ServerName = d.TLSServerName
		}
	}
	return p, nil
}

// Probe implements Prober.
func (p *h2Probe) Probe(ctx context.Context) Result {
	conn, err := dialMaybeTLS(ctx, p.addr, p.tls)
	if err != nil {
		return Result{Critical, fmt.Sprintf("HTTP/2 connect %s: %v", p.addr, err)}
	}
	defer conn.Close()
	cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(conn)
	if err != nil {
		return Result{Critical, fmt.Sprintf("HTTP/2 start %s: %v", p.addr, err)}
	}
	defer cc.Close()
	if err := cc.Ping(ctx); err != nil {
		return Result{Critical, fmt.Sprintf("HTTP/2 ping %s: %v", p.addr, err)}
	}
	return Result{Passing, fmt.Sprintf("HTTP/2 ping %s: success", p.addr)}
}

// dialMaybeTLS connects and, with a configuration, shakes hands in TLS.
func dialMaybeTLS(ctx context.Context, addr string, conf *tls.Config) (net.Conn, error) {
	d := &net.Dialer{}
	if conf == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, "tcp", addr)
}

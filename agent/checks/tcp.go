package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/legate-project/legate/config"
)

// tcpProbe passes if a connection can be made and, where asked for, TLS is
// spoken on it.
type tcpProbe struct {
	addr string
	tls  *tls.Config // nil for none
}

func newTCP(d *config.CheckDefinition) (Prober, error) {
	host, _, err := net.SplitHostPort(d.TCP)
	if err != nil {
		return nil, fmt.Errorf("check %q: %q is no host:port", d.Name, d.TCP)
	}
	p := &tcpProbe{addr: d.TCP}
	if d.TCPUseTLS {
		p.tls = &tls.Config{ServerName: host, InsecureSkipVerify: d.TLSSkipVerify}
		if d.TLSServerName != "" {
			p.tls.ServerName = d.TLSServerName
		}
	}
	return p, nil
}

// Probe implements Prober.
func (p *tcpProbe) Probe(ctx context.Context) Result {
	conn, err := dialMaybeTLS(ctx, p.addr, p.tls)
	if err != nil {
		return Result{Critical, fmt.Sprintf("TCP connect %s: %v", p.addr, err)}
	}
	if err := conn.Close(); err != nil {
		return Result{Warning, fmt.Sprintf("TCP connect %s: closing: %v", p.addr, err)}
	}
	return Result{Passing, fmt.Sprintf("TCP connect %s: Success", p.addr)}
}

package checks

import (
	"context"
	"fmt"
	"net"

	"github.com/legate-project/legate/config"
)

// tcpProbe passes if a connection can be made.
type tcpProbe struct{ addr string }

func newTCP(d *config.CheckDefinition) (Prober, error) {
	if _, _, err := net.SplitHostPort(d.TCP); err != nil {
		return nil, fmt.Errorf("check %q: %q is no host:port", d.Name, d.TCP)
	}
	return &tcpProbe{d.TCP}, nil
}

// Probe implements Prober.
func (p *tcpProbe) Probe(ctx context.Context) Result {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return Result{Critical, err.Error()}
	}
	if err := conn.Close(); err != nil {
		return Result{Warning, fmt.Sprintf("TCP connect %s: closing: %v", p.addr, err)}
	}
	return Result{Passing, fmt.Sprintf("TCP connect %s: Success", p.addr)}
}

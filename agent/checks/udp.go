package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/legate-project/legate/config"
)

// udpProbe sends a packet: it is critical if the host says that nobody
// listens. Silence passes: UDP promises no answer.
type udpProbe struct{ addr string }

func newUDP(d *config.CheckDefinition) (Prober, error) {
	if _, _, err := net.SplitHostPort(d.UDP); err != nil {
		return nil, fmt.Errorf("check %q: %q is no host:port", d.Name, d.UDP)
	}
	return &udpProbe{d.UDP}, nil
}

// Probe implements Prober.
func (p *udpProbe) Probe(ctx context.Context) Result {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", p.addr)
	if err != nil {
		return Result{Critical, err.Error()}
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return Result{Critical, err.Error()}
		}
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte("health check")); err != nil {
		return Result{Critical, fmt.Sprintf("UDP write %s: %v", p.addr, err)}
	}
	_, err = conn.Read(make([]byte, 1))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		return Result{Critical, fmt.Sprintf("UDP read %s: %v", p.addr, err)}
	}
	return Result{Passing, fmt.Sprintf("UDP connect %s: Success", p.addr)}
}

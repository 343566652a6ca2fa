package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/legate-project/legate/config"
)

// grpcProbe asks the standard health service (grpc.health.v1): SERVING passes.
type grpcProbe struct {
	addr, service string
	creds         credentials.TransportCredentials
}

func newGRPC(d *config.CheckDefinition) (Prober, error) {
	addr, service, _ := strings.Cut(d.GRPC, "/")
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, fmt.Errorf("check %q: %q is no host:port[/service]", d.Name, d.GRPC)
	}
	p := &grpcProbe{addr: addr, service: service, creds: insecure.NewCredentials()}
	if d.GRPCUseTLS {
		p.creds = credentials.NewTLS(&tls.Config{ServerName: d.TLSServerName, InsecureSkipVerify: d.TLSSkipVerify})
	}
	return p, nil
}

// Probe implements Prober. Each probe connects anew: it is to see what a new
// client sees.
func (p *grpcProbe) Probe(ctx context.Context) Result {
	conn, err := grpc.NewClient("passthrough:///"+p.addr, grpc.WithTransportCredentials(p.creds), grpc.WithUserAgent("Legate Health Check"))
	if err != nil {
		return Result{Critical, err.Error()}
	}
	defer conn.Close()
	res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: p.service})
	if err != nil {
		return Result{Critical, fmt.Sprintf("gRPC check %s: %v", p.addr, err)}
	}
	if res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return Result{Critical, fmt.Sprintf("gRPC check %s: %s", p.addr, res.GetStatus())}
	}
	return Result{Passing, fmt.Sprintf("gRPC check %s: success", p.addr)}
}

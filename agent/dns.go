package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/legate-project/legate/dns"
	"github.com/legate-project/legate/dns/explain"
	"github.com/legate-project/legate/httpapi/names"
)

// stands returns an error, denied, for a token that stands for nothing.
func (a *Agent) stands(ctx context.Context, token string) error {
	_, err := a.rights(ctx, token)
	return err
}

// explainer explains what the DNS interface answers; nil without one.
func (a *Agent) explainer() names.Explainer {
	s := a.dns.Load()
	if s == nil {
		return nil
	}
	return &explain.Explainer{Server: s, Caller: a.caller, Datacenter: a.cfg.Datacenter, Rule: a.failover.Rule}
}

// startDNS opens the DNS interface on every address it is configured for.
func (a *Agent) startDNS() error {
	addrs := a.cfg.DNSAddrs()
	if len(addrs) == 0 {
		return nil
	}
	s, err := dns.New(dns.Config{Caller: a.caller, Domain: a.cfg.Domain, AltDomain: a.cfg.AltDomain, Datacenter: a.cfg.Datacenter, Node: a.cfg.NodeName,
		TranslateWAN: a.cfg.TranslateWANAddrs, DNS: a.cfg.DNSConfig, Recursors: a.cfg.Recursors, Failover: a.failover.Others, Token: a.tokens.forDNS, Stands: a.stands, Tracer: a.tracer, Log: a.log, Registerer: a.reg})
	if err != nil {
		return fmt.Errorf("set up the DNS interface: %w", err)
	}
	a.dns.Store(s)
	for _, addr := range addrs {
		udp, tcp, err := dns.Listen(a.group.Context(), addr)
		if err != nil {
			return fmt.Errorf("listen for DNS on %s (client_addr, ports.dns): %w", addr, err)
		}
		err = a.group.Go("DNS on "+addr, func(ctx context.Context) {
			if err := s.Serve(ctx, udp, tcp); err != nil {
				a.finish(&FatalError{fmt.Errorf("serve DNS on %s: %w", addr, err)})
			}
		})
		if err != nil {
			return errors.Join(err, udp.Close(), tcp.Close())
		}
	}
	return nil
}

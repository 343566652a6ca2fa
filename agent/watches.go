package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/watches"
)

// watchesTimeout bounds the end of watches that a reload takes away.
const watchesTimeout = 10 * time.Second

// startWatches runs the handlers of the configuration, which ask the HTTP
// interface.
func (a *Agent) startWatches() error {
	a.reload.Lock() // a reload may have come since that interface is open
	defer a.reload.Unlock()
	if err := a.group.OnStop("watches", a.watches.Stop); err != nil {
		return err
	}
	all, err := watches.Parse(a.live.Load().Watches)
	if err != nil {
		return err
	}
	return a.setWatches(all)
}

func (a *Agent) setWatches(all []*watches.Watch) error {
	ctx, cancel := context.WithTimeout(context.Background(), watchesTimeout)
	defer cancel()
	return a.watches.Set(ctx, all)
}

// ownClient is a client of this agent's HTTP interface, or of HTTPS if there is no
// other.
func (a *Agent) ownClient(datacenter, token string) (*api.Client, error) {
	conf := &api.Config{Datacenter: datacenter, Token: token}
	switch {
	case len(a.http) > 0:
		conf.Address = addressOf(a.http[0])
	case len(a.https) > 0:
		conf.Address, conf.Scheme = addressOf(a.https[0]), "https"
		conf.Transport = &http.Transport{TLSClientConfig: a.certs.OwnHTTPS(), ForceAttemptHTTP2: true}
	default:
		return nil, errors.New("the agent has no HTTP interface to ask (ports.http, ports.https)")
	}
	return api.NewClient(conf)
}

// addressOf is what a client of this host connects to for a listener.
func addressOf(at net.Addr) string {
	switch at := at.(type) {
	case *net.UnixAddr:
		return "unix://" + at.Name
	case *net.TCPAddr:
		if at.IP.IsUnspecified() {
			return fmt.Sprintf("localhost:%d", at.Port)
		}
	}
	return at.String()
}

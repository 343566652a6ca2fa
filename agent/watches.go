package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// ownClient is a client of this agent's HTTP interface.
func (a *Agent) ownClient(datacenter, token string) (*api.Client, error) {
	if len(a.http) == 0 {
		return nil, errors.New("the agent has no HTTP interface to ask (ports.http)")
	}
	address := a.http[0].String()
	switch at := a.http[0].(type) {
	case *net.UnixAddr:
		address = "unix://" + at.Name
	case *net.TCPAddr:
		if at.IP.IsUnspecified() {
			address = fmt.Sprintf("localhost:%d", at.Port)
		}
	}
	return api.NewClient(&api.Config{Address: address, Datacenter: datacenter, Token: token})
}

// Package standins has a server know what the datacenters would answer that stand in for
// services of this one (package failover of the state), before anybody needs it: one that is
// cut off later is answered for with what it said last.
//
// It asks what a plain name asks, for at most MaxServices services, every minute, through the
// views, which follow what is asked and forget it when nobody does. It decides nothing.
package standins

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/byname"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/failover"
)

// MaxServices bounds the services that are asked about: those that rules name, then those
// whose names begin as rules say.
const MaxServices = 256

const (
	// every is how often it is asked: views keep for longer what nobody asks for.
	every = time.Minute
	// askTimeout is how long one question may take, atOnce how many are asked at a time.
	askTimeout = 5 * time.Second
	atOnce     = 8
	// retryAfter is how long after the rules could not be read they are read again.
	retryAfter = 5 * time.Second
)

// Config says who is asked.
type Config struct {
	// Local is this datacenter as this server has it, Views the others, both without a
	// token's limits.
	Local, Views op.Caller
	// Healthy names up to limit services that have a healthy instance in another datacenter,
	// of those that are wanted.
	Healthy func(limit int, wanted func(service string) bool) []string
	Log     *slog.Logger
}

// Keeper asks.
type Keeper struct {
	cfg Config
	log *slog.Logger
}

// New returns what asks nothing before Run.
func New(cfg Config) *Keeper { return &Keeper{cfg, cfg.Log.With("component", "failover")} }

// Run asks when the rules change, and every minute, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	var index uint64
	for ctx.Err() == nil {
		h := op.Header{Consistency: op.Stale, MinIndex: index, MaxWait: every}
		list, meta, err := failover.List.Call(ctx, k.cfg.Local, h, &op.Empty{})
		if err == nil && list != nil {
			k.ask(ctx, *list)
		}
		if err == nil && meta.Index >= max(index, 1) {
			index = meta.Index
			continue
		}
		index = 0
		if err != nil && ctx.Err() == nil {
			k.log.Debug("rules of failover cannot be read", "error", err)
		}
		t := time.NewTimer(retryAfter)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// ask asks about each service of the rules, as a plain name does.
func (k *Keeper) ask(ctx context.Context, list failover.Rules) {
	orders := make(map[string]string, len(list))
	for _, r := range list {
		if len(r.Datacenters) > 0 {
			orders[r.Service] = op.FailoverOrder(r.Datacenters)
		}
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for service, order := range k.services(orders) {
		for _, passing := range []bool{false, true} {
			g.Go(func() error {
				ctx, cancel := context.WithTimeout(ctx, askTimeout)
				defer cancel()
				h := op.Header{Datacenter: order, Consistency: op.Cached}
				_, _, err := catalog.ListInstances.Call(ctx, k.cfg.Views, h, &catalog.ServiceRequest{Service: service, HealthyOnly: true, PassingOnly: passing})
				if err != nil && ctx.Err() == nil {
					k.log.Debug("what stands in for a service cannot be asked", "service", service, "error", err)
				}
				return nil
			})
		}
	}
	_ = g.Wait() // what cannot be asked is asked again
}

// services are those that rules are for, with which datacenters stand in.
func (k *Keeper) services(orders map[string]string) map[string]string {
	services := make(map[string]string, min(len(orders), MaxServices))
	beginnings := map[string]string{}
	for service, order := range orders {
		switch {
		case strings.HasSuffix(service, "*"):
			beginnings[service] = order
		case len(services) < MaxServices:
			services[service] = order
		}
	}
	if left := MaxServices - len(services); left > 0 && len(beginnings) > 0 {
		table := byname.New(beginnings)
		for _, service := range k.cfg.Healthy(left, func(service string) bool { return orders[service] == "" && table.Of(service) != "" }) {
			services[service] = table.Of(service)
		}
	}
	return services
}

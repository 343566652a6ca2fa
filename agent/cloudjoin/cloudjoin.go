// Package cloudjoin finds the addresses of members to join through: entries of
// retry_join that name a cloud are asked there, all others are addresses.
//
// It keeps no answers and tries nothing again: who joins does. What a provider
// logs is kept from the log, since it may have secrets in it; its error is
// returned.
package cloudjoin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/hashicorp/go-discover/provider/aws"
	"github.com/hashicorp/go-discover/provider/azure"
	"github.com/hashicorp/go-discover/provider/digitalocean"
	"github.com/hashicorp/go-discover/provider/gce"
	"github.com/hashicorp/go-discover/provider/mdns"

	"github.com/legate-project/legate/config"
)

const (
	// patience is how long one question to a cloud is waited for: a credential
	// chain that fails takes half of it.
	patience = time.Minute
	// maxAddrs are taken of one answer. Joining asks one after the other, and
	// any one member is enough.
	maxAddrs = 256
)

// ErrBusy is returned while the last question to a provider goes on: providers
// cannot be told to stop.
var ErrBusy = errors.New("the last question is not answered yet")

// provider is what go-discover has of each cloud.
type provider interface {
	Addrs(args map[string]string, l *log.Logger) ([]string, error)
}

// providers are those of config.CloudProviders. Each brings the SDK of its
// cloud (docs/dependencies.md has the weights).
func providers() map[string]provider {
	return map[string]provider{
		"aws":          &aws.Provider{},
		"azure":        &azure.Provider{},
		"digitalocean": &digitalocean.Provider{},
		"gce":          &gce.Provider{},
		"mdns":         &mdns.Provider{},
	}
}

// Runner starts a goroutine that has an owner.
type Runner interface {
	Spawn(name string, run func(context.Context)) error
}

// Finder turns entries of one setting into addresses. One caller uses it at a
// time.
type Finder struct {
	run       Runner
	providers map[string]provider
	entries   []string
	asked     []chan found // by entry; nil if nobody asks
}

type found struct {
	addrs []string
	err   error
}

// NewFinder returns a Finder of entries that config has found to be right.
func NewFinder(run Runner, entries []string) *Finder {
	return &Finder{run: run, providers: providers(), entries: entries, asked: make([]chan found, len(entries))}
}

// Addrs returns the addresses of all entries in their order. An entry that
// cannot be resolved is left out; why not is in the error, beside the addresses
// of the others.
func (f *Finder) Addrs(ctx context.Context) ([]string, error) {
	var addrs []string
	var errs []error
	for i, entry := range f.entries {
		if !config.IsCloudJoin(entry) {
			addrs = append(addrs, entry)
			continue
		}
		join, err := config.ParseCloudJoin(entry)
		if err != nil {
			return nil, err
		}
		more, err := f.ask(ctx, i, join)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", join, err))
		case len(more) == 0:
			errs = append(errs, fmt.Errorf("%s: nothing matches", join))
		}
		addrs = append(addrs, more[:min(len(more), maxAddrs)]...)
	}
	return addrs, errors.Join(errs...)
}

// ask waits for the answer of one provider. Its goroutine may outlive the wait,
// never the process; there is one for an entry at a time.
func (f *Finder) ask(ctx context.Context, i int, join config.CloudJoin) ([]string, error) {
	answer := f.asked[i]
	if answer == nil {
		answer = make(chan found, 1)
		args := map[string]string{"provider": join.Provider}
		for k, v := range join.Args {
			args[k] = v
		}
		err := f.run.Spawn("ask "+join.Provider, func(context.Context) {
			addrs, err := f.providers[join.Provider].Addrs(args, log.New(io.Discard, "", 0))
			answer <- found{addrs, err}
		})
		if err != nil {
			return nil, err
		}
		f.asked[i] = answer
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case got := <-answer:
		f.asked[i] = nil
		return got.addrs, got.err
	case <-wait.C:
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

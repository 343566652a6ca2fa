// Package cloudjoin finds the addresses of members to join through: it asks the
// clouds that entries of retry_join name.
//
// It keeps no answers and tries nothing again: who joins does. What a provider
// logs is kept from the log, since it may have secrets in it; its error is
// returned without the values of the entry, and not at any length. A provider
// that panics or hangs hurts nothing but its answer.
package cloudjoin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/hashicorp/go-discover/provider/aws"
	"github.com/hashicorp/go-discover/provider/azure"
	"github.com/hashicorp/go-discover/provider/digitalocean"
	"github.com/hashicorp/go-discover/provider/gce"
	"github.com/hashicorp/go-discover/provider/mdns"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
)

const (
	// patience is how long one question to a cloud is waited for: a credential
	// chain that fails takes half of it.
	patience = time.Minute
	// maxAddrs are taken of one answer. Joining asks one after the other, and
	// any one member is enough.
	maxAddrs = 256
	// maxFault is how many bytes of a provider's error are told: some return what a
	// proxy says in its place.
	maxFault = 1024
	// shortestSecret is how many bytes a value has at least that is hidden in errors:
	// words as short as regions are no secrets.
	shortestSecret = 8
)

// ErrBusy is returned while the last question to a provider goes on: providers
// cannot be told to stop.
var ErrBusy = errors.New("the last question is not answered yet")

// provider is what go-discover has of each cloud.
type provider interface {
	Addrs(args map[string]string, l *log.Logger) ([]string, error)
}

// providers are those that config.ParseCloudJoin takes. Each brings the SDK of its
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

// Finder asks the clouds of one setting for addresses. One caller uses it at a
// time.
type Finder struct {
	// run has those who ask. Nobody stops it: providers cannot be told to stop, and
	// an agent that ends must not wait for one that hangs.
	run       *lifecycle.Group
	providers map[string]provider
	joins     []config.CloudJoin
	asked     []chan found // by join; nil if nobody asks
}

type found struct {
	addrs []string
	err   error
}

// NewFinder returns a Finder that asks all of joins.
func NewFinder(joins []config.CloudJoin) *Finder {
	return &Finder{run: lifecycle.New("clouds"), providers: providers(), joins: joins, asked: make([]chan found, len(joins))}
}

// Addrs returns what the clouds say, in the order of the joins. All are asked at
// once. One that gives no address is left out; why is in the error, beside the
// addresses of the others.
func (f *Finder) Addrs(ctx context.Context) ([]string, error) {
	var addrs []string
	var errs []error
	for i := range f.joins {
		if err := f.ask(i); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrBusy)
	defer cancel()
	for i, join := range f.joins {
		more, err := f.answer(ctx, i)
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

// ask has one provider asked, unless it is being asked. Its goroutine may outlive
// the wait, never the process.
func (f *Finder) ask(i int) error {
	if f.asked[i] != nil {
		return nil
	}
	join, answer := f.joins[i], make(chan found, 1)
	f.asked[i] = answer
	return f.run.Spawn("ask "+join.Provider, func(context.Context) {
		addrs, err := addrsOf(f.providers[join.Provider], join)
		answer <- found{addrs, err}
	})
}

// answer waits for what a provider says.
func (f *Finder) answer(ctx context.Context, i int) ([]string, error) {
	var got found
	select {
	case got = <-f.asked[i]:
	case <-ctx.Done():
		select {
		case got = <-f.asked[i]: // it has come while others were waited for
		default:
			return nil, context.Cause(ctx)
		}
	}
	f.asked[i] = nil
	return got.addrs, got.err
}

// errPanicked says no more: what a panic says may be secret.
var errPanicked = errors.New("the provider failed in a way that it does not tell")

func addrsOf(p provider, join config.CloudJoin) (addrs []string, err error) {
	defer func() {
		if recover() != nil {
			addrs, err = nil, errPanicked
		}
	}()
	args := map[string]string{"provider": join.Provider}
	for k, v := range join.Args {
		args[k] = v
	}
	if addrs, err = p.Addrs(args, log.New(io.Discard, "", 0)); err != nil {
		err = &fault{err: err, join: join}
	}
	return addrs, err
}

// fault is a provider's error as it may be told.
type fault struct {
	err  error
	join config.CloudJoin
}

// Error implements error.
func (f *fault) Error() string {
	text := f.err.Error()
	for _, v := range f.join.Args {
		if len(v) >= shortestSecret {
			text = strings.ReplaceAll(text, v, "<hidden>")
		}
	}
	if len(text) > maxFault { // not before: half a value would stay
		text = strings.ToValidUTF8(text[:maxFault], "") + "…"
	}
	return text
}

// Unwrap returns the error as the provider says it.
func (f *fault) Unwrap() error { return f.err }

// Package announce fires a user event in several datacenters, and says which of them could
// not be told.
//
// An agent keeps it once, though a datacenter is told again where its answer was lost: it has
// one ID everywhere. Nothing is kept of it here, so a datacenter that is away misses it.
package announce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/op"
)

const (
	// askTimeout is how long a datacenter may take, askAgain after how long without an answer
	// it is told once more.
	askTimeout = 5 * time.Second
	askAgain   = 2 * time.Second
	// atOnce bounds how many datacenters are told at a time, maxTold how many are.
	atOnce  = 32
	maxTold = 256
	// maxNamed bounds how many an error names, maxReason the characters of what each said.
	maxNamed  = 16
	maxReason = 200
)

// Config says where events are fired.
type Config struct {
	// Datacenter is the own one.
	Datacenter string
	// Others lists the other datacenters, Caller tells one of them, or the own one.
	Others func() []string
	Caller op.Caller
}

// Announcer answers events.Announce. It is safe for concurrent use.
type Announcer struct{ cfg Config }

// New returns what tells nobody yet.
func New(cfg Config) *Announcer { return &Announcer{cfg} }

// Handler answers the operation.
func (a *Announcer) Handler() op.Handler { return events.Announce.Handle(a.announce) }

func (a *Announcer) announce(ctx context.Context, h op.Header, r *events.Announcement) (*events.Announced, error) {
	e := r.Event
	if e.Name == events.RemoteExec {
		return nil, op.Errorf(op.CodeInvalid, "the event %s is for agents of one datacenter: what it announces is kept there", e.Name)
	}
	err := e.Validate()
	if err == nil {
		err = e.Identify()
	}
	if err != nil {
		return nil, err
	}
	datacenters, err := a.named(r.Datacenters)
	if err != nil {
		return nil, err
	}
	out := &events.Announced{Event: e, Told: make([]events.Told, len(datacenters))}
	failed := make([]error, len(datacenters))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, dc := range datacenters {
		g.Go(func() error {
			out.Told[i].Datacenter = dc
			if failed[i] = a.tell(ctx, op.Header{Datacenter: dc, Token: h.Token, Hops: h.Hops}, e); failed[i] != nil {
				out.Told[i].Error = failed[i].Error()
			}
			return nil
		})
	}
	_ = g.Wait() // each says in its row what went wrong
	if !slices.Contains(failed, nil) {
		return nil, nobody(datacenters, failed)
	}
	return out, nil
}

// nobody is the error where none could be told: that of the first, whose code counts, with
// what the others said.
func nobody(datacenters []string, failed []error) error {
	if len(failed) == 1 {
		return failed[0]
	}
	var all strings.Builder
	for i, err := range failed {
		if i == maxNamed {
			fmt.Fprintf(&all, "; and %d more", len(failed)-i)
			break
		}
		if i > 0 {
			all.WriteString("; ")
		}
		fmt.Fprintf(&all, "%s: %.*s", datacenters[i], maxReason, err)
	}
	return &op.Error{Code: op.CodeOf(failed[0]), Text: "no datacenter was told: " + all.String()}
}

// named are the datacenters that are meant.
func (a *Announcer) named(text string) ([]string, error) {
	reach, err := op.ParseReach(text)
	if err != nil {
		return nil, err
	}
	if reach.First {
		return nil, op.Errorf(op.CodeInvalid, "%q: an event is for one datacenter, for a list (dc2,dc3) or for %s", text, op.All)
	}
	names := reach.Listed
	if reach.Others {
		names = append([]string{a.cfg.Datacenter}, a.cfg.Others()...)
	}
	if len(names) > maxTold {
		return nil, op.Errorf(op.CodeTooLarge, "there are %d datacenters, and an event is for %d at most: list them in parts", len(names), maxTold)
	}
	return names, nil
}

// tell fires the event in one datacenter. Where that says nothing in time, or a server of it
// was lost meanwhile, it is told again.
func (a *Announcer) tell(ctx context.Context, h op.Header, e events.Event) error {
	if h.Datacenter == a.cfg.Datacenter {
		h.Datacenter = ""
	}
	once := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		_, _, err := events.Fire.Call(ctx, a.cfg.Caller, h, &e)
		return err
	}
	err := once(askAgain)
	late := errors.Is(err, context.DeadlineExceeded) || op.CodeOf(err) == op.CodeTimeout
	if err == nil || ctx.Err() != nil || !late && op.CodeOf(err).Retry() == op.RetryNever {
		return err
	}
	return once(askTimeout - askAgain)
}

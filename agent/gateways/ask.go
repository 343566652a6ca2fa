package gateways

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Times of asking.
const (
	// askEvery is how often a gateway asks whether what it holds is what servers give now:
	// that is how soon it follows keys that change.
	askEvery   = 5 * time.Second
	askTimeout = 5 * time.Second
	// firstPause is the pause after a failure, doubled after each further one up to askEvery.
	firstPause = 250 * time.Millisecond
	// quietFailures are those in a row that only mean that the agent, or its server, has just
	// started; tellAgain is how often one that lasts is told of.
	quietFailures = 4
	tellAgain     = time.Minute
	// maxAnswer bounds an answer, in bytes: sixteen certificates under sixteen authorities.
	maxAnswer = 64 << 10
)

// Calls calls servers of the datacenter; transport.Endpoint is one.
type Calls interface {
	RoundTrip(ctx context.Context, t transport.Target, protocol string, head, body []byte) ([]byte, error)
}

// Applicant is the gateway's side.
type Applicant struct {
	Calls   Calls
	Servers func() []transport.Target // those that are known now
	Token   func() string             // of this agent
	// Keys and Files are what this gateway is by what servers give; Files may be something by
	// files of its own.
	Keys  *identity.Bestowed
	Files *identity.Delegated
	// Given is called after each change of what it is, lost with whether authorities are gone.
	Given func(lost bool)
	// Removed is told which datacenters the federation refuses, after each answer that says so; nil for nobody.
	Removed func([]string)
	Log     *slog.Logger
}

// holds is what a gateway has.
type holds struct {
	state string
	by    [][]byte  // authorities
	renew time.Time // when it is asked for anew
	from  transport.Target
}

// Dial is Protocol as a gateway uses it: only servers of its datacenter answer.
func Dial(datacenter string) transport.Protocol {
	return transport.Protocol{PoolSize: 1, Admit: func(p identity.Peer) error {
		if !p.Server || p.Datacenter != datacenter {
			return fmt.Errorf("a gateway asks servers of datacenter %s, not %s", datacenter, p)
		}
		return nil
	}}
}

// Run asks until ctx ends. A server that is away does not matter while there are others, and
// none at all not until what was given ends.
func (a Applicant) Run(ctx context.Context) {
	request, key, err := identity.NewRequest()
	if err != nil {
		a.Log.Error("this gateway has no key, and carries nothing", "error", err)
		return
	}
	var has holds
	var told time.Time
	for failures := 0; ; {
		pause := askEvery
		if err := a.ask(ctx, request, key, &has); err == nil {
			failures = 0
		} else {
			pause = min(askEvery, firstPause<<min(failures, 10))
			if failures++; failures > quietFailures && time.Since(told) > tellAgain {
				told = time.Now()
				a.Log.Warn("no server gives this gateway an identity between datacenters: without one it carries nothing, with the one it has it goes on until that ends",
					"has_until", a.until(), "error", err)
			}
		}
		t := time.NewTimer(pause + time.Duration(rand.Int64N(int64(pause/8)+1)))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (a Applicant) until() string {
	if c := a.Keys.Until(); !c.IsZero() {
		return c.UTC().Format(time.RFC3339)
	}
	return "nothing"
}

// ask asks one server after another, the one that answered last first: while keys change,
// servers differ for a moment.
func (a Applicant) ask(ctx context.Context, request []byte, key ed25519.PrivateKey, has *holds) error {
	servers := a.Servers()
	if len(servers) == 0 {
		return errors.New("no server of the datacenter is known")
	}
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	if i := slices.Index(servers, has.from); i > 0 {
		servers[0], servers[i] = servers[i], servers[0]
	}
	q := question{Token: a.Token(), Request: request, Holds: has.state}
	if !time.Now().Before(has.renew) {
		q.Holds = ""
	}
	var errs []error
	for _, t := range servers {
		got, err := a.of(ctx, t, q)
		if err == nil {
			a.refuse(got)
			err = a.take(got, key, has)
		}
		if err == nil {
			has.from = t
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", t, err))
	}
	return errors.Join(errs...)
}

func (a Applicant) of(ctx context.Context, t transport.Target, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	b, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	b, err = a.Calls.RoundTrip(ctx, t, Protocol, nil, b)
	switch {
	case errors.Is(err, transport.ErrNoProtocol):
		return answer{}, errors.New("it knows nothing of gateways: it is of an earlier version")
	case err != nil:
		return answer{}, err
	}
	var got answer
	if len(b) > maxAnswer || json.Unmarshal(b, &got) != nil {
		return answer{}, fmt.Errorf("its answer of %d bytes is not understood", len(b))
	}
	if got.Error != "" {
		return answer{}, fmt.Errorf("it answers %q", got.Error)
	}
	return got, nil
}

// refuse hands on which datacenters are removed: before this gateway is given anything.
func (a Applicant) refuse(got answer) {
	if got.Removed == nil || a.Removed == nil {
		return
	}
	names := slices.DeleteFunc(*got.Removed, func(name string) bool { return name == "" || len(name) > maxName })
	a.Removed(names[:min(len(names), maxRemoved)])
}

// take has this gateway be what a server gave.
func (a Applicant) take(got answer, key ed25519.PrivateKey, has *holds) error {
	if got.State == has.state && got.Certificates == nil && got.Delegation == nil {
		return nil // it is asked without State when something new is needed
	}
	var until time.Time
	earliest := func(t time.Time, err error) error {
		if err == nil && (until.IsZero() || t.Before(until)) {
			until = t
		}
		return err
	}
	if got.Certificates != nil {
		if err := earliest(a.Keys.Take(got.Certificates, got.Authorities, key)); err != nil {
			return err
		}
	}
	if got.Delegation != nil && a.Files.HasRoots() {
		if err := earliest(a.Files.Take(got.Delegation, key)); err != nil {
			return err
		}
	}
	if until.IsZero() {
		return errors.New("it gives nothing that this gateway can use: set tls.internal_rpc.ca_file")
	}
	lost := slices.ContainsFunc(has.by, func(old []byte) bool {
		return !slices.ContainsFunc(got.Authorities, func(now []byte) bool { return string(now) == string(old) })
	})
	a.Log.Info("a server has given this gateway its identity between datacenters", "until", until.UTC().Format(time.RFC3339), "authorities", len(got.Authorities))
	*has = holds{state: got.State, by: got.Authorities, renew: time.Now().Add(time.Until(until) * 2 / 3), from: has.from}
	a.Given(lost)
	return nil
}

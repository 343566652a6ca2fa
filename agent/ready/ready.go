// Package ready says whether an agent is one to send requests to: for load balancers,
// and for what started the program.
//
// It asks the datacenter one question that every server answers from what it knows.
// It promises nothing about the next request, and names nobody.
package ready

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

// Status is what an agent is.
type Status string

// What an agent can be.
const (
	Ready    Status = "ready"     // it has somebody to ask, who has a leader or heard one lately
	Starting Status = "starting"  // it was not ready yet since its start
	Leaving  Status = "leaving"   // it says goodbye, or ends
	NoServer Status = "no-server" // a client agent that no server answers
	NoLeader Status = "no-leader" // there was no leader for too long
	Stale    Status = "stale"     // the last word of a leader is older than who asks takes
)

// State is a status with what is to be known of it. It names no node and no address.
type State struct {
	Status Status
	Reason string `json:",omitempty"`
	// LastContactMS is how long ago the server that answered heard its leader, in
	// milliseconds; absent if it never did, or no server answers.
	LastContactMS *int64 `json:",omitempty"`
}

// Ready reports whether requests may be sent.
func (s State) Ready() bool { return s.Status == Ready }

const (
	// kept is how long an answer is good for: whoever asks more often asks no server.
	kept = time.Second
	// patience is how long the question may take.
	patience = 2 * time.Second
	// leastGrace is longer than a leader is silent that is well.
	leastGrace = 2 * time.Second
)

// Readiness follows one agent. Its methods are safe for concurrent use.
type Readiness struct {
	grace   time.Duration
	caller  atomic.Pointer[op.Caller]
	leaving atomic.Bool

	asking sync.Mutex // held while servers are asked: who comes meanwhile shares the answer
	heard  heard
}

// heard is the last answer.
type heard struct {
	at      time.Time // zero before the first
	answers bool      // somebody did
	leader  time.Time // when a leader was heard; zero for never
	was     bool      // ready, once
}

// New returns the readiness of an agent that starts. Without a leader it stays ready
// for the grace, since requests wait as long for the next one, and for two seconds at
// least.
func New(grace time.Duration) *Readiness { return &Readiness{grace: max(grace, leastGrace)} }

// Begin lets it ask.
func (r *Readiness) Begin(c op.Caller) { r.caller.Store(&c) }

// Leave says that the agent leaves, or ends. There is no way back.
func (r *Readiness) Leave() { r.leaving.Store(true) }

// State returns what the agent is now, a second ago at most. A limit takes the place
// of the grace: an agent whose server heard its leader within it is ready. Nil is no
// limit.
func (r *Readiness) State(ctx context.Context, limit *time.Duration) State {
	if r.leaving.Load() {
		return State{Status: Leaving, Reason: "The agent leaves or ends"}
	}
	c := r.caller.Load()
	if c == nil {
		return State{Status: Starting, Reason: "The agent is not up yet"}
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	if time.Since(r.heard.at) >= kept {
		r.ask(ctx, *c)
	}
	s := r.judge(limit)
	if r.heard.was = r.heard.was || s.Ready(); !r.heard.was {
		s.Status = Starting
	}
	return s
}

// ask hears how things stand. The answer is for all: it does not end with who asks.
func (r *Readiness) ask(ctx context.Context, c op.Caller) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, meta, err := status.Leader.Call(ctx, c, op.Header{Consistency: op.Stale}, &op.Empty{})
	r.heard.at, r.heard.answers = time.Now(), err == nil
	if err != nil {
		return
	}
	if meta.LastContact < op.Longest && (meta.KnownLeader || meta.LastContact > 0) {
		r.heard.leader = r.heard.at.Add(-meta.LastContact)
	}
}

// judge says what follows from the last answer.
func (r *Readiness) judge(limit *time.Duration) State {
	if !r.heard.answers {
		return State{Status: NoServer, Reason: "No server of the datacenter answers"}
	}
	most, bad, what := r.grace, NoLeader, "rpc_hold_timeout"
	if limit != nil {
		most, bad, what = *limit, Stale, "max_stale"
	}
	if r.heard.leader.IsZero() {
		return State{Status: bad, Reason: "No leader was heard yet"}
	}
	age := r.heard.at.Sub(r.heard.leader)
	ms := age.Milliseconds()
	if age > most {
		return State{bad, fmt.Sprintf("The last word of a leader is older than %s (%s)", what, most), &ms}
	}
	return State{Status: Ready, LastContactMS: &ms}
}

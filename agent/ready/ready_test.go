package ready

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

// server answers who leads, as one server knows it.
type server struct {
	asked  int
	leader bool
	silent time.Duration // since the leader was heard
	err    error
	hangs  bool
}

func (s *server) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	s.asked++
	if call.Operation.OpName() != status.Leader.Name || call.Header.Consistency != op.Stale || call.Header.Token != "" {
		return nil, errors.New("another question was asked")
	}
	if s.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := cmp.Or(ctx.Err(), s.err); err != nil {
		return nil, err
	}
	return op.NewReply(op.Meta{KnownLeader: s.leader, LastContact: s.silent}, &op.Text{}), nil
}

// one is an agent with a grace of 7 s.
type one struct {
	t *testing.T
	*Readiness
	server server
}

func (o *one) want(limit string, want Status) State {
	o.t.Helper()
	var most *time.Duration
	if limit != "" {
		d, err := time.ParseDuration(limit)
		if err != nil {
			o.t.Fatal(err)
		}
		most = &d
	}
	s := o.State(o.t.Context(), most)
	if s.Status != want || s.Ready() != (want == Ready) || (s.Reason == "") != (want == Ready) {
		o.t.Errorf("the agent is %+v, want %s", s, want)
	}
	return s
}

func world(t *testing.T, do func(o *one)) {
	synctest.Test(t, func(t *testing.T) {
		o := &one{t: t, Readiness: New(7 * time.Second)}
		do(o)
	})
}

func TestAnAgentIsReadyWhenItsServerHasALeader(t *testing.T) {
	world(t, func(o *one) {
		o.want("", Starting) // it cannot ask yet
		o.Begin(&o.server)
		o.server.err = errors.New("no server is known, of 10.0.0.9")
		if s := o.want("", Starting); strings.Contains(s.Reason, "10.0.0.9") {
			t.Errorf("an address is told: %+v", s)
		}
		<-time.After(kept)
		o.server.err, o.server.silent = nil, op.Longest
		if s := o.want("", Starting); s.LastContactMS != nil {
			t.Errorf("a leader was never heard: %+v", s)
		}
		<-time.After(kept)
		o.server.leader, o.server.silent = true, 30*time.Millisecond
		if s := o.want("", Ready); s.LastContactMS == nil || *s.LastContactMS != 30 {
			t.Errorf("%+v", s)
		}
		o.Leave()
		o.want("1000h", Leaving)
	})
}

// While the next leader is elected requests wait, so the agent stays ready for as long.
func TestAnElectionIsNoReasonToGoElsewhere(t *testing.T) {
	world(t, func(o *one) {
		o.Begin(&o.server)
		o.server.leader = true
		o.want("", Ready)
		o.server.leader = false
		for silent, want := range map[time.Duration]Status{6 * time.Second: Ready, 8 * time.Second: NoLeader} {
			<-time.After(kept)
			o.server.silent = silent
			o.want("", want)
		}
		<-time.After(kept)
		o.server.silent = time.Minute
		o.want("30s", Stale)
		o.want("2m", Ready)
		o.want("0s", Stale)
		o.want("", NoLeader)
		<-time.After(kept)
		o.server.leader, o.server.silent = true, 0
		o.want("0s", Ready)
	})
}

// Where requests wait for no leader an agent is ready all the same while there is one.
func TestAGraceIsLongerThanALeaderIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &one{t: t, Readiness: New(0)}
		o.Begin(&o.server)
		o.server.leader, o.server.silent = true, time.Second
		o.want("", Ready)
		<-time.After(kept)
		o.server.silent = 3 * time.Second
		o.want("", NoLeader)
	})
}

func TestServersThatDoNotAnswerAreNotWaitedFor(t *testing.T) {
	world(t, func(o *one) {
		o.Begin(&o.server)
		o.server.leader = true
		o.want("", Ready)
		<-time.After(kept)
		o.server.hangs = true
		began := time.Now()
		o.want("1000h", NoServer)
		if took := time.Since(began); took != patience {
			t.Errorf("it took %v", took)
		}
		<-time.After(kept)
		o.server.hangs = false
		o.want("", Ready)
	})
}

// Whoever asks, and how often: servers are asked once a second.
func TestManyQuestionsAreOne(t *testing.T) {
	world(t, func(o *one) {
		o.Begin(&o.server)
		o.server.leader = true
		gone, cancel := context.WithCancel(o.t.Context())
		cancel()
		if s := o.State(gone, nil); !s.Ready() {
			t.Errorf("who has gone spoils it for others: %+v", s)
		}
		for range 1000 {
			o.want("", Ready)
		}
		if o.server.asked != 1 {
			t.Errorf("asked %d times", o.server.asked)
		}
		<-time.After(kept)
		o.want("", Ready)
		if o.server.asked != 2 {
			t.Errorf("asked %d times", o.server.asked)
		}
	})
}

package access

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

const (
	// maxAsking bounds the secrets that the home is asked about at a time.
	maxAsking = 256
	// askTimeout is how long it has to answer.
	askTimeout = 3 * time.Second
	// answerHolds is how long what it said is taken for so: by so much a change there is
	// late here, until its copies come.
	answerHolds = time.Second
)

// Home is what is global at its home, for a datacenter that has no copies of it yet.
type Home interface {
	// Awaited names the home as long as nothing has come from it; "" else.
	Awaited(storage.Reader) (string, error)
	// Ask asks it what a secret stands for in this datacenter, or another one. The
	// error is of code Denied if it stands for nothing.
	Ask(ctx context.Context, home string, r *acl.ResolveRequest) (*acl.Resolved, error)
}

// asking are the questions that are under way.
type asking struct {
	same singleflight.Group
	room chan struct{}
}

// awaited names the home that is to be asked instead of this state.
func (r *Resolver) awaited(v storage.Reader) (string, error) {
	if r.cfg.Home == nil {
		return "", nil
	}
	return r.cfg.Home.Awaited(v)
}

// ask has the home say what a secret stands for. What a part of the copies says would be
// too much where a policy that denies is in another part, so a local token alone counts
// as it is here.
func (r *Resolver) ask(e *entry, k key, home string) error {
	e.until = time.Now().Add(answerHolds)
	if k.datacenter == "" {
		k.datacenter = r.cfg.Datacenter
	}
	said, err, _ := r.asking.same.Do(k.datacenter+"\x00"+k.secret, func() (any, error) {
		select {
		case r.asking.room <- struct{}{}:
			defer func() { <-r.asking.room }()
		default:
			return nil, op.Errorf(op.CodeBusy, "%s is being asked about %d tokens, the most at a time", home, maxAsking)
		}
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		return r.cfg.Home.Ask(ctx, home, &acl.ResolveRequest{Secret: k.secret, Datacenter: k.datacenter})
	})
	if err == nil {
		e.resolved = said.(*acl.Resolved)
		return nil
	}
	if op.CodeOf(err) == op.CodeDenied {
		return err
	}
	err = &op.Error{Code: op.CodeOf(err), Datacenter: home, Text: "datacenter " + r.cfg.Datacenter + " has no copies of policies and tokens yet, and " + home +
		", the home of access control, cannot be asked: " + err.Error() + ". See that the two reach each other (legate federation status), and that primary_datacenter is right. This ends by itself when they do"}
	if k.secret != "" {
		return err
	}
	// What everybody may ask is answered without a token.
	e.failed, e.resolved = err, &acl.Resolved{Accessor: acl.AnonymousAccessor}
	e.authorizer = rules.Compile(rules.Settings{}, nil).For("anonymous token, whose rights are not known here until " + home + ", the home of access control, can be asked,")
	return nil
}

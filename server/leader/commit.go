package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// Commit prepares the command, asks whether the caller may do that to what is
// stored, replicates it and returns what applying it gave.
func (d *Duties) Commit(ctx context.Context, a rules.Authorizer, call *op.Call, o op.Preparable) (any, error) {
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	if err := o.Ready(d.preparing(), request); err != nil {
		return nil, err
	}
	if err := d.fits(a, o, request); err != nil {
		return nil, err
	}
	if err := d.known(o); err != nil {
		return nil, err
	}
	if holds := d.cfg.Conditions[o.OpName()]; holds != nil {
		if err := holds(ctx, request); err != nil {
			return nil, err
		}
	}
	call.Changed()
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	// What the servers could not decode would end all of them, again at every
	// start: requests made in this process have met no bounds yet.
	if _, err := o.DecodeRequest(body); err != nil {
		return nil, op.Malformed(o, err)
	}
	command, err := d.cfg.Machine.EncodeUpTo(d.level, o, body)
	if err != nil {
		return nil, err
	}
	result, err := d.raft.Propose(ctx, command)
	if err != nil {
		return nil, WireError(err)
	}
	return result, nil
}

// fits asks whether the caller may do that to what is stored, and whether it fits that.
func (d *Duties) fits(a rules.Authorizer, o op.Preparable, request any) error {
	c, _ := o.(op.Checkable)
	checks := c != nil && c.Checks()
	limited := !rules.Unlimited(a)
	if !checks && !limited {
		return nil
	}
	v := d.cfg.State.View()
	var err error
	if limited {
		err = o.AllowStored(a, v, request)
	}
	if err == nil && checks {
		err = c.CheckStored(v, request)
	}
	if closed := v.Close(); err == nil {
		err = closed
	}
	return err
}

// preparing is what a command may be prepared with.
func (d *Duties) preparing() op.Leader {
	return op.Leader{Now: time.Now(), NewID: uuid.NewString, Clock: d.clock(), MinTTL: d.cfg.SessionTTLMin, BootstrapReset: d.cfg.BootstrapReset}
}

// Self is the Caller of those who write for the datacenter itself: it commits
// without asking who calls, and answers with the bare result.
func (d *Duties) Self() op.Caller {
	return op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		o, ok := call.Operation.(op.Preparable)
		if !ok {
			return nil, fmt.Errorf("%s is not a command", call.Operation.OpName())
		}
		result, err := d.Commit(ctx, rules.AllowAll(), call, o)
		if err != nil {
			return nil, err
		}
		return op.NewReply(op.Meta{Index: 1, KnownLeader: true, Datacenter: d.cfg.Datacenter}, result), nil
	})
}

// WireError turns what consensus says into what crosses the wire.
func WireError(err error) error {
	var e *op.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, consensus.ErrNotLeader):
		return op.ErrNotLeader
	case errors.Is(err, consensus.ErrOverloaded):
		return op.Errorf(op.CodeBusy, "too many commands wait to be replicated")
	case errors.Is(err, consensus.ErrTooLarge):
		return op.Errorf(op.CodeTooLarge, "command is larger than %d bytes", consensus.MaxCommandBytes)
	case errors.Is(err, consensus.ErrStopped):
		return op.ErrStopping
	case errors.Is(err, consensus.ErrLost):
		return op.Errorf(op.CodeLost, "leadership was lost before the command was known to be committed: %v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return op.Errorf(op.CodeTimeout, "command was not committed before the deadline")
	}
	return err
}

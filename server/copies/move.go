package copies

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/status"
)

// askTimeout is how long a home that is said to be gone has to answer.
const askTimeout = 2 * time.Second

// leaderTimeout is how long one that answers has to show a leader: longer than elections
// take.
const leaderTimeout = 6 * time.Second

// maxSteps is by how much a version may be above that of the last move, however far ahead
// the clock was that made that: moves that were broken off count, too.
const maxSteps = 1 << 20

// errAlone is the answer of a server that knows no other datacenters.
var errAlone = op.Errorf(op.CodeConflict, "this server takes no part in a federation: its own datacenter is the home")

// Move makes this datacenter the home, on its leader.
func (c *Copies) Move(ctx context.Context, h op.Header, req *acl.MoveRequest) (*acl.Moving, error) {
	switch {
	case !c.cfg.Enabled:
		return nil, acl.ErrDisabled
	case c.links.Federation == nil:
		return nil, errAlone
	case !c.move.TryLock():
		return nil, op.Errorf(op.CodeConflict, "another move of the home to this datacenter is in progress")
	}
	defer c.move.Unlock()
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	row, err := c.row()
	if err != nil {
		return nil, err
	}
	from := c.noted()
	if c.outdated(row, from) {
		return nil, op.Errorf(op.CodeConflict, "this datacenter is about to take note that %s is the home, since it is allowed in the federation again: try again in a second", from.Datacenter)
	}
	if !row.Away && (row.Version > from.Version || from.Datacenter == c.cfg.Datacenter) { // told again to who has missed it
		return c.tell(ctx, row, from.Datacenter)
	}
	if pending := row.Away && row.Version > from.Version; pending && row.Datacenter != c.cfg.Datacenter {
		if !req.Force {
			return nil, op.Errorf(op.CodeConflict, "the role of the home is being given to %s, which has not said yet whether it took it over: try again, or take it back by force if %s is gone for good", row.Datacenter, row.Datacenter)
		}
		if err := c.gone(ctx, h, row.Datacenter); err != nil {
			return nil, err
		}
	}
	version := max(time.Now().UnixMilli(), from.Version+1, row.Version+1, row.Wanted+1)
	if req.Force {
		err = c.force(ctx, h, from, version)
	} else {
		err = c.inOrder(ctx, h, from, version)
	}
	if err != nil {
		return nil, err
	}
	if row, err = c.row(); err != nil {
		return nil, err
	}
	if row.Away || row.Version != version {
		return nil, op.Errorf(op.CodeConflict, "another move of the home was made meanwhile: legate federation primary shows who is home")
	}
	return c.tell(ctx, row, from.Datacenter)
}

// tell has all servers know that this datacenter is the home.
func (c *Copies) tell(ctx context.Context, h *acl.Home, from string) (*acl.Moving, error) {
	if h.Version == 0 {
		return &acl.Moving{Home: c.cfg.Datacenter, From: from, Told: 1}, nil // it is as it is configured
	}
	told, missed, err := c.links.Federation.SetHome(ctx, removal.Record{Datacenter: c.cfg.Datacenter, Version: h.Version, By: h.By, Since: h.Since})
	if err != nil {
		return nil, err
	}
	return &acl.Moving{Home: c.cfg.Datacenter, From: from, Told: told, Missed: missed}, nil
}

// force takes the role over from a home that is gone. A datacenter that nothing has come
// to would leave the federation without tokens and policies, for good.
func (c *Copies) force(ctx context.Context, h op.Header, from removal.Record, version int64) error {
	switch awaited, err := c.read(c.Awaited); {
	case err != nil:
		return err
	case awaited != "":
		return op.Errorf(op.CodeConflict, "nothing that %s has was copied to %s yet, so all tokens and policies would be gone: have a datacenter take the role over whose copies are whole (legate federation primary in each shows how they stand)",
			awaited, c.cfg.Datacenter)
	}
	if err := c.gone(ctx, h, from.Datacenter); err != nil {
		return err
	}
	c.log.Warn("this datacenter takes the role of the home over by force: what was written there and not copied here is lost", "peer_datacenter", from.Datacenter)
	_, err := c.step(ctx, &acl.StepRequest{Step: acl.StepClaim, Version: version, Datacenter: c.cfg.Datacenter, By: c.cfg.Server, Since: c.since(c.cfg.Datacenter)})
	return err
}

// gone refuses a datacenter that answers, unless nobody there can write: servers that have
// lost their majority for good answer all the same, and cannot hand anything over.
func (c *Copies) gone(ctx context.Context, h op.Header, datacenter string) error {
	if datacenter == c.cfg.Datacenter {
		return nil
	}
	ask := op.Header{Datacenter: datacenter, Token: h.Token, Consistency: op.Stale}
	short, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, _, err := status.Ping.Call(short, c.links.Calls, ask, &op.Empty{}); err != nil {
		return nil
	}
	long, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	ask.Consistency = op.Default
	_, _, err := acl.ReplicationStatus.Call(long, c.links.Calls, ask, &op.Empty{}) // its leader answers
	if op.CodeOf(err) == op.CodeNoLeader {
		c.log.Warn("the datacenter that had the role of the home answers, and has had no leader for seconds: it is taken for gone", "peer_datacenter", datacenter)
		return nil
	}
	return op.Errorf(op.CodeConflict, "%s answers: have it hand the role of the home over in order, without -force", datacenter)
}

// orForce is what can be done where nothing else can.
const orForce = " (if it is gone for good, or has lost the majority of its servers for good, take the role over with -force)"

// inOrder has the home stop writing, waits until everything is here, and takes the role
// over. If that fails this datacenter gives it up in its log, and the home, which asks,
// takes the role back.
func (c *Copies) inOrder(ctx context.Context, h op.Header, from removal.Record, version int64) error {
	c.setMoving(version)
	defer c.setMoving(0)
	if err := c.follower.reached(ctx, from, 0); err != nil { // one that cannot be followed is not asked to stop
		return op.Errorf(op.CodeConflict, "the home, %s, is not followed here: %v%s", from.Datacenter, err, orForce)
	}
	ticket := rand.Text()
	if _, err := c.step(ctx, &acl.StepRequest{Step: acl.StepWant, Version: version, Ticket: ticket}); err != nil {
		return err
	}
	err := c.takeOver(ctx, h, from, &acl.YieldRequest{Version: version, To: c.cfg.Datacenter, By: c.cfg.Server, Ticket: ticket})
	if err == nil {
		return nil
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	res, unknown := c.step(after, &acl.StepRequest{Step: acl.StepGiveUp, Version: version})
	switch {
	case unknown != nil:
		return op.Errorf(op.CodeTimeout, "it is not known whether %s handed the role of the home to %s (legate federation primary will show it): %v", from.Datacenter, c.cfg.Datacenter, errors.Join(err, unknown))
	case !res.Home.Away && res.Home.Version == version:
		return nil // taken over after all
	}
	return op.Errorf(op.CodeConflict, "the home stays where it is, or goes back there: %s has not handed the role to %s: %v%s", from.Datacenter, c.cfg.Datacenter, err, orForce)
}

func (c *Copies) takeOver(ctx context.Context, h op.Header, from removal.Record, ask *acl.YieldRequest) error {
	yielded, _, err := acl.YieldHome.Call(ctx, c.links.Calls, op.Header{Datacenter: from.Datacenter, Token: h.Token}, ask)
	if err != nil {
		return err
	}
	if yielded == nil {
		return op.Errorf(op.CodeInternal, "it answered nothing")
	}
	if err := c.follower.reached(ctx, from, yielded.Index); err != nil {
		return err
	}
	inv, err := c.inventory()
	if err != nil {
		return err
	}
	if inv.Total() != yielded.Sum {
		return op.Errorf(op.CodeConflict, "the copies here are not what the home has: they will be once they are compared again")
	}
	_, err = c.step(ctx, &acl.StepRequest{Step: acl.StepAssume, Version: ask.Version, Datacenter: c.cfg.Datacenter, By: c.cfg.Server, Since: c.since(c.cfg.Datacenter)})
	return err
}

func (c *Copies) setMoving(version int64) {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.moving.version = version
}

// Yield gives the role of the home to another datacenter, on the leader of the home.
func (c *Copies) Yield(ctx context.Context, _ op.Header, req *acl.YieldRequest) (*acl.Yielded, error) {
	rec := c.noted()
	switch {
	case !c.cfg.Enabled:
		return nil, acl.ErrDisabled
	case rec.Datacenter != c.cfg.Datacenter:
		return nil, op.Errorf(op.CodeConflict, "datacenter %s is not the home any more: %s is", c.cfg.Datacenter, rec.Datacenter)
	case req.Version <= rec.Version || req.Version > max(time.Now().Add(time.Hour).UnixMilli(), rec.Version+maxSteps) || req.To == "" || req.To == c.cfg.Datacenter || req.Ticket == "":
		return nil, op.Errorf(op.CodeConflict, "the move to %.64q is older than the last one, or the clock there is more than an hour ahead", req.To)
	}
	res, err := c.step(ctx, &acl.StepRequest{Step: acl.StepYield, Version: req.Version, Datacenter: req.To, By: req.By, Ticket: req.Ticket, Since: c.since(req.To)})
	if err != nil {
		if op.CodeOf(err) == op.CodeMoved { // not for who asks to be tried again
			err = op.Errorf(op.CodeConflict, "the role is being given to another datacenter: %v", err)
		}
		return nil, err
	}
	inv, err := c.inventory()
	if err != nil {
		return nil, err
	}
	c.log.Info("this datacenter gives the role of the home away", "peer_datacenter", req.To)
	return &acl.Yielded{Index: res.Index, Sum: inv.Total()}, nil
}

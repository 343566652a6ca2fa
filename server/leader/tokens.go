package leader

import (
	"context"
	"errors"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
)

// tokenPeriod is how often tokens that have ended are looked for. Until they are
// removed they stand for nothing already.
const tokenPeriod = 5 * time.Second

// tokenLoop makes what access control always needs and removes tokens that have
// ended. It runs while this server leads.
func (d *Duties) tokenLoop(ctx context.Context) {
	if !d.cfg.AccessControl {
		return
	}
	begun := false
	try := func() {
		home := d.cfg.AtHome == nil || d.cfg.AtHome()
		if !home {
			begun = false
		}
		if home && !begun {
			if err := d.beginAccess(ctx); err != nil {
				if ctx.Err() == nil {
					d.log.Warn("make the policies and tokens that access control always has", "error", err)
				}
				return
			}
			begun = true
		}
		if err := d.expireTokens(ctx, home); err != nil && ctx.Err() == nil {
			d.log.Warn("remove tokens that have ended", "error", err)
		}
	}
	try()
	every(ctx, tokenPeriod, try)
}

// beginAccess makes what is missing of what must always be there.
func (d *Duties) beginAccess(ctx context.Context) error {
	v := d.cfg.State.View()
	begun, err := acl.Begun(v, d.cfg.InitialManagement)
	if err = errors.Join(err, v.Close()); err != nil || begun {
		return err
	}
	req, err := acl.Beginning(d.preparing(), d.cfg.InitialManagement)
	if err != nil {
		return err
	}
	_, _, err = acl.Begin.Call(ctx, d.Self(), op.Header{}, req)
	return err
}

// expireTokens removes tokens that have ended, some at a time.
func (d *Duties) expireTokens(ctx context.Context, home bool) error {
	for _, local := range []bool{true, false} {
		if !local && !home {
			continue // their deletion is copied
		}
		for ctx.Err() == nil {
			now := time.Now()
			v := d.cfg.State.View()
			ended, err := acl.Ended(v, local, now, acl.MaxExpiries)
			if err = errors.Join(err, v.Close()); err != nil || len(ended) == 0 {
				if err != nil {
					return err
				}
				break
			}
			if _, _, err := acl.Expire.Call(ctx, d.Self(), op.Header{}, &acl.ExpireRequest{Accessors: ended, Now: now}); err != nil {
				return err
			}
		}
	}
	return nil
}

package server

import (
	"context"
	"time"

	"github.com/legate-project/legate/op"
)

// followDigest tells a server of another datacenter how healthy the services of
// this one are: the whole first, then what changes.
func (s *Server) followDigest(ctx context.Context, call *op.Call, may rights, push func(*op.Reply) error) error {
	if s.own == nil {
		return op.Errorf(op.CodeUnsupported, "this server keeps no digest")
	}
	if !s.followed.TryAcquire() {
		return op.Errorf(op.CodeBusy, "server has %d subscriptions, its limit", s.followed.Max())
	}
	defer s.followed.Release()
	beat := time.NewTimer(heartbeat())
	defer beat.Stop()
	for version := uint64(0); ; {
		_, revoked, err := may()
		if err != nil {
			return err
		}
		if call.Header.MustCurrent && s.leaderSilence() > leaderLost {
			return op.ErrNoLeader
		}
		news, now, changed := s.own.Since(version)
		for i := range news {
			if err := push(op.NewReply(s.meta(op.Cached, now), &news[i])); err != nil {
				return err
			}
		}
		version = now
		select {
		case <-changed:
		case <-revoked:
		case <-beat.C:
			beat.Reset(heartbeat())
			m := s.meta(op.Cached, 0)
			m.Index = 0
			if err := push(op.NewReply(m, nil)); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-s.group.Context().Done():
			return op.ErrStopping
		}
	}
}

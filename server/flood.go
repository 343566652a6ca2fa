package server

import (
	"context"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// How often it is looked whether a server of this datacenter is missing in the
// WAN pool: always, and while one is.
const (
	floodPeriod = 30 * time.Second
	floodSoon   = time.Second
)

// floodJoin brings the other servers of this datacenter into the WAN pool as
// soon as they appear in the LAN pool.
func (s *Server) floodJoin(ctx context.Context) {
	next := floodSoon
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
		next = floodPeriod
		if s.wanLacks() {
			next = floodSoon
			if _, err := s.wan.FloodJoin(ctx, s.lan.Servers()); err != nil {
				s.log.Debug("join servers of this datacenter to the WAN pool", "error", err)
			}
		}
	}
}

// wanLacks reports whether a live server of this datacenter is not in the WAN
// pool.
func (s *Server) wanLacks() bool {
	in := map[string]bool{}
	for _, srv := range s.wan.Servers() {
		if srv.Status == gossip.Alive {
			in[srv.ID] = true
		}
	}
	for _, srv := range s.lan.Servers() {
		if srv.Status == gossip.Alive && srv.WANPort > 0 && !in[srv.ID] {
			return true
		}
	}
	return false
}

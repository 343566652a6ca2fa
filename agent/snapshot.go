package agent

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/transfer"
	"github.com/legate-project/legate/transport"
)

// remoteSnapshots asks a server of the datacenter, any that can be reached.
type remoteSnapshots struct {
	list *serverList
	via  transfer.Opener
}

var _ transfer.Handler = remoteSnapshots{}

// SaveSnapshot implements transfer.Handler.
func (r remoteSnapshots) SaveSnapshot(ctx context.Context, h op.Header) (io.ReadCloser, op.Meta, error) {
	return transfer.Save(ctx, r.via, r.targets(), h)
}

// RestoreSnapshot implements transfer.Handler.
func (r remoteSnapshots) RestoreSnapshot(ctx context.Context, h op.Header, from io.Reader) (*op.Texts, error) {
	return transfer.Restore(ctx, r.via, r.targets(), h, from)
}

// targets are the live servers in random order.
func (r remoteSnapshots) targets() []transport.Target {
	var out []transport.Target
	for _, s := range r.list.Servers() {
		if s.Status == gossip.Alive {
			out = append(out, transport.Target{Addr: s.RPCAddr(), NodeID: s.ID, Name: s.Name})
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// spool makes the directory of uploads empty: what an earlier run left there is
// of no use. Without a data directory it is the system's for temporary files.
func (d *dataDir) spool() (string, error) {
	dir := d.sub("spool")
	if dir == "" {
		return "", nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("empty the directory of uploads: %w", err)
	}
	if err := os.MkdirAll(filepath.Clean(dir), 0o700); err != nil {
		return "", fmt.Errorf("make the directory of uploads: %w", err)
	}
	return dir, nil
}

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// seenFile holds when a server was last at work.
	seenFile = "server-seen.json"
	// seenPeriod is how often that is noted.
	seenPeriod = time.Hour
)

// seen is the content of seenFile.
type seen struct {
	Last time.Time `json:"last"`
}

// ErrAwayTooLong is why a server that was away for long does not start: the
// others may have removed it, and what it knows may have ended since.
var ErrAwayTooLong = errors.New("this server was away for too long")

// checkAway refuses to start a server that was away longer than the
// configuration allows.
func (d *dataDir) checkAway(limit time.Duration, now time.Time) error {
	if d.path == "" {
		return nil
	}
	file := filepath.Join(d.path, seenFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read when this server was last at work: %w", err)
	}
	var was seen
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("%s is damaged (%w): remove it if this server was away for less than server_rejoin_age_max", file, err)
	}
	if absent := now.Sub(was.Last); absent > limit {
		return fmt.Errorf("%w: %s, and server_rejoin_age_max is %s: start it with an empty -data-dir, or remove %s if no other server went on without it",
			ErrAwayTooLong, absent.Round(time.Second), limit, file)
	}
	return nil
}

func (d *dataDir) noteSeen(now time.Time) error {
	if d.path == "" {
		return nil
	}
	b, err := json.Marshal(seen{now.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(d.path, seenFile), b)
}

// startSeen notes from time to time, and at the end, that this server is at work.
func (a *Agent) startSeen() error {
	if err := a.dir.checkAway(a.cfg.ServerRejoinAgeMax, time.Now()); err != nil {
		return err
	}
	note := func() {
		if err := a.dir.noteSeen(time.Now()); err != nil {
			a.log.Warn("when this server was at work is not kept: it may be refused when it starts again (server_rejoin_age_max)", "error", err)
		}
	}
	note()
	return a.group.Go("note that this server is at work", func(ctx context.Context) {
		t := time.NewTicker(seenPeriod)
		defer t.Stop()
		defer note()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				note()
			}
		}
	})
}

package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
)

// The last state of a check that is run is kept with the time of its last run,
// and taken up after a restart if it is young: a restart is no outage. The time
// is the file's own: most runs change nothing else, and setting it costs a call
// and no bytes. What is kept may be lost with the power.

const (
	// keepPeriod is the time between two looks at what is to be kept: what a kill
	// costs at the most.
	keepPeriod = time.Second
	// outputPeriod: output that changes with each run is written no more often. A
	// state is written at once.
	outputPeriod = 30 * time.Second
	// maxKeptAtOnce is how many files one change writes: others wait for it.
	maxKeptAtOnce = 128
	// youngFor is how many intervals old a state may be that is taken up.
	youngFor = 2
	// The first runs after a start are spread over this long for each check, and
	// at least over the shortest time.
	firstRunSpread    = 5 * time.Millisecond
	shortestFirstRuns = time.Second
)

// ran notes the time of a run; s.mu is held.
func (s *State) ran(c *check) {
	if s.cfg.Dir != "" {
		c.ranAt = time.Now()
		s.toKeep[c.def.ID] = true
	}
}

// firstRun is within which time the first run of a check begins: soon after a
// start, spread over its interval if it is new. s.mu is held.
func (s *State) firstRun(c *check) time.Duration {
	if s.running {
		return c.period()
	}
	return min(c.period(), max(shortestFirstRuns, time.Duration(len(s.checks))*firstRunSpread))
}

// keepLoop keeps results until ctx ends.
func (s *State) keepLoop(ctx context.Context) {
	t := time.NewTicker(keepPeriod)
	defer t.Stop()
	lost := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := s.keepResults(false)
		if err != nil && !lost {
			s.log.Warn("states of checks cannot be kept: after a restart they begin anew", "error", err)
		}
		lost = err != nil
	}
}

// outcome is what is to be kept of one check.
type outcome struct {
	check  *check
	result keptResult
	ranAt  time.Time
	write  bool // not the time alone
}

// keepResults keeps what runs have brought since the last time; with last also
// output that would not yet be written.
func (s *State) keepResults(last bool) error {
	outcomes := s.outcomes(last)
	var errs []error
	for len(outcomes) > 0 {
		n := min(len(outcomes), maxKeptAtOnce)
		errs = append(errs, s.keepSome(outcomes[:n]))
		outcomes = outcomes[n:]
	}
	return errors.Join(errs...)
}

func (s *State) outcomes(last bool) []outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last {
		for id, c := range s.checks {
			s.toKeep[id] = !c.ranAt.IsZero()
		}
	}
	var out []outcome
	for id, due := range s.toKeep {
		c := s.checks[id]
		if c == nil || !due {
			continue // it is gone, or never ran
		}
		o := outcome{check: c, ranAt: c.ranAt, result: keptResult{CheckID: id, Status: c.record.Status, Output: c.record.Output}}
		switch {
		case c.kept == nil, c.kept.Status != o.result.Status:
			o.write = true
		case c.kept.Output != o.result.Output:
			o.write = last || c.ranAt.Sub(c.keptAt) >= outputPeriod
		}
		out = append(out, o)
	}
	clear(s.toKeep)
	return out
}

// keepSome keeps some outcomes together.
func (s *State) keepSome(outcomes []outcome) error {
	writes := false
	for i := range outcomes {
		if o := &outcomes[i]; o.write {
			var err error
			if o.result.Definition, err = digest(&o.check.def); err != nil {
				return err
			}
			writes = true
		}
	}
	var errs []error
	if writes {
		errs = append(errs, s.writeResults(outcomes))
	}
	lost := errors.Join(errs...) != nil
	for i := range outcomes {
		if lost && outcomes[i].write {
			continue // the file has an older state; the times of the others need no space
		}
		err := os.Chtimes(s.disk.Path(resultFolder, outcomes[i].result.CheckID), time.Time{}, outcomes[i].ranAt)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the check is gone
			errs = append(errs, fmt.Errorf("keep the time of a run: %w", err))
		}
	}
	return errors.Join(errs...)
}

// writeResults writes the files of those outcomes that are not their time
// alone.
func (s *State) writeResults(outcomes []outcome) error {
	return s.change(func(w *disk.Writes) error {
		for i := range outcomes {
			o := &outcomes[i]
			if !o.write || s.checks[o.result.CheckID] != o.check {
				continue
			}
			if err := w.Keep(resultFolder, o.result.CheckID, kept{Result: &o.result}); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for i := range outcomes {
			if o := outcomes[i]; o.write {
				o.check.kept, o.check.keptAt = &o.result, o.ranAt
			}
		}
	})
}

// digest tells definitions apart: a state is about what was checked.
func digest(d *config.CheckDefinition) (string, error) {
	def := *d
	def.Token, def.Status, def.Name, def.Notes = "", "", "", ""
	b, err := json.Marshal(def)
	if err != nil {
		return "", fmt.Errorf("digest of check %q: %w", d.ID, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// resume takes the last state before a restart up, if it is young; s.mu is
// held.
func (s *State) resume(c *check) {
	if s.cfg.Dir == "" || s.running {
		return
	}
	name := s.disk.Path(resultFolder, c.def.ID)
	info, err := os.Stat(name)
	if err != nil {
		return // it never ran
	}
	k, err := readKept(name)
	if err != nil || k.Result == nil {
		return // restore has put it aside
	}
	is, err := digest(&c.def)
	age := time.Since(info.ModTime())
	if err != nil || k.Result.Definition != is || age < 0 || age >= youngFor*c.period() {
		return
	}
	c.record.Status, c.record.Output = k.Result.Status, s.output(k.Result.Output)
	c.kept, c.keptAt, c.ranAt = k.Result, info.ModTime(), info.ModTime()
	if d := s.cfg.UpdateInterval; d > 0 { // other output in the catalog was held back when the agent ended
		c.holdOff = time.Now().Add(d/2 + rand.N(d))
	}
}

// period is the time between two results of a check.
func (c *check) period() time.Duration {
	if isAlias(&c.def) {
		return aliasWait
	}
	return max(c.def.Interval, checks.MinInterval)
}

// maxKept is the longest file that is read, in bytes: some times what the longest
// definition has.
const maxKept = 64 << 20

func readKept(name string) (k kept, err error) {
	f, err := os.Open(name)
	if err != nil {
		return k, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKept+1))
	switch {
	case err != nil:
		return k, err
	case len(b) > maxKept:
		return k, fmt.Errorf("is longer than %d bytes", maxKept)
	}
	return k, json.Unmarshal(b, &k)
}

// sweepResults removes the results of checks that are not defined any more.
func (s *State) sweepResults() error {
	if s.cfg.Dir == "" {
		return nil
	}
	files, err := os.ReadDir(filepath.Join(s.cfg.Dir, resultFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweep %s: %w", resultFolder, err)
	}
	current := map[string]bool{}
	s.mu.Lock()
	for id := range s.checks {
		current[s.disk.Path(resultFolder, id)] = true
	}
	s.mu.Unlock()
	for _, f := range files {
		name := filepath.Join(s.cfg.Dir, resultFolder, f.Name())
		if filepath.Ext(name) == ".json" && !current[name] {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("sweep %s: %w", resultFolder, err)
			}
		}
	}
	return nil
}

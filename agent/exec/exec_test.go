package exec

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// store is a key/value store in memory with one session.
type store struct {
	mu      sync.Mutex
	entries map[string]kv.Entry
	session string        // "" when it is gone
	changed chan struct{} // closed and made anew by each write
}

func newStore(session string, job any) *store {
	b, _ := json.Marshal(job) // a map of plain values
	return &store{session: session, changed: make(chan struct{}), entries: map[string]kv.Entry{
		"_rexec/" + session + "/job": {Key: "_rexec/" + session + "/job", Value: b, Session: session}}}
}

func (s *store) Do(_ context.Context, c *op.Call) (*op.Reply, error) {
	r, err := c.Request()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r := r.(type) {
	case *kv.GetRequest:
		if e, ok := s.entries[r.Key]; ok {
			return op.NewReply(op.Meta{}, &e), nil
		}
		return op.NewReply(op.Meta{}, nil), nil
	case *kv.ApplyRequest:
		ok := r.Verb == kv.Lock && r.Entry.Session == s.session
		if ok {
			s.entries[r.Entry.Key] = r.Entry
			close(s.changed)
			s.changed = make(chan struct{})
		}
		return op.NewReply(op.Meta{}, &kv.ApplyResult{OK: ok}), nil
	}
	return nil, op.Errorf(op.CodeUnsupported, "%T", r)
}

// until waits for a condition on the entries.
func (s *store) until(t *testing.T, what string, is func(map[string]kv.Entry) bool) {
	t.Helper()
	over := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		done, changed := is(s.entries), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-over:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// ran waits for the end of the job and returns output and exit code.
func (s *store) ran(t *testing.T) (out, code string) {
	t.Helper()
	s.until(t, "exit", func(m map[string]kv.Entry) bool { _, ok := m["_rexec/s/n1/exit"]; return ok })
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries["_rexec/s/n1/ack"]; !ok {
		t.Error("the job was not acknowledged")
	}
	for _, k := range slices.Sorted(maps.Keys(s.entries)) {
		if strings.HasPrefix(k, "_rexec/s/n1/out/") {
			if len(s.entries[k].Value) > chunk {
				t.Errorf("%s has %d bytes", k, len(s.entries[k].Value))
			}
			out += string(s.entries[k].Value)
		}
	}
	return out, string(s.entries["_rexec/s/n1/exit"].Value)
}

func start(t *testing.T, s *store) *Exec {
	t.Helper()
	e := New(Config{Caller: s, NodeName: "n1", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry()})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

const announced = `{"Prefix":"_rexec","Session":"s"}`

func TestCommandsRun(t *testing.T) {
	for name, c := range map[string]struct {
		job       map[string]any
		out, code string
	}{
		"shell":            {map[string]any{"Command": "echo one; echo two >&2; exit 3"}, "one\ntwo\n", "3"},
		"arguments":        {map[string]any{"Args": []string{"printf", "%s", "$HOME;"}}, "$HOME;", "0"},
		"script":           {map[string]any{"Script": []byte("#!/bin/sh\necho from $(basename $0 | cut -c1-12)\n")}, "from legate-exec-\n", "0"},
		"no interpreter":   {map[string]any{"Script": []byte("echo one\nexit 4\n")}, "one\n", "4"},
		"no such program":  {map[string]any{"Args": []string{"/no/such/program"}}, "fork/exec /no/such/program: no such file or directory\n", "255"},
		"killed by itself": {map[string]any{"Command": "kill -9 $$"}, "", "255"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore("s", c.job)
			start(t, s).Take([]byte(announced))
			if out, code := s.ran(t); out != c.out || code != c.code {
				t.Errorf("printed %q and ended with %s", out, code)
			}
		})
	}
}

func TestLongOutputIsCutIntoChunksAndBounded(t *testing.T) {
	s := newStore("s", map[string]any{"Command": "head -c 9000000 /dev/zero | tr '\\0' x"})
	start(t, s).Take([]byte(announced))
	out, code := s.ran(t)
	if code != "0" || !strings.Contains(out, "output ends here") || len(out) > maxOutput+200 || len(out) < maxOutput {
		t.Errorf("%d bytes, code %s", len(out), code)
	}
}

// When whoever asked is gone, so is the command, with all that it started.
func TestTheCommandEndsWithTheSession(t *testing.T) {
	s := newStore("s", map[string]any{"Command": "echo begun; sleep 1000 & while :; do echo more; sleep 0.05; done"})
	e := start(t, s)
	e.Take([]byte(announced))
	s.until(t, "begin", func(m map[string]kv.Entry) bool { return len(m["_rexec/s/n1/out/00000"].Value) > 0 })
	s.mu.Lock()
	s.session = ""
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range maxJobs { // all slots are free again: the job has ended
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			t.Fatal("the command still runs")
		}
	}
	for range maxJobs {
		<-e.slots
	}
	if _, ok := s.entries["_rexec/s/n1/exit"]; ok {
		t.Error("an end was noted that nobody waits for")
	}
}

func TestWhatIsNoJobIsNotRun(t *testing.T) {
	other := newStore("s", map[string]any{"Command": "true"})
	e := other.entries["_rexec/s/job"]
	e.Session = "another"
	other.entries["_rexec/s/job"] = e
	for name, c := range map[string]struct {
		store   *store
		payload string
	}{
		"not JSON":               {newStore("s", map[string]any{"Command": "true"}), "x"},
		"no session":             {newStore("s", map[string]any{"Command": "true"}), `{"Prefix":"_rexec"}`},
		"a path as session":      {newStore("s", map[string]any{"Command": "true"}), `{"Prefix":"_rexec","Session":"a/s"}`},
		"no command":             {newStore("s", map[string]any{}), announced},
		"job of another session": {other, announced},
		"job too large":          {newStore("s", map[string]any{"Command": strings.Repeat("x", maxJob)}), announced},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, c.store)
			e.Take([]byte(c.payload))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for range maxJobs {
				select {
				case e.slots <- struct{}{}:
				case <-ctx.Done():
					t.Fatal("still busy with it")
				}
			}
			for range maxJobs {
				<-e.slots
			}
			if len(c.store.entries) != 1 {
				t.Errorf("something was written: %v", slices.Sorted(maps.Keys(c.store.entries)))
			}
		})
	}
}

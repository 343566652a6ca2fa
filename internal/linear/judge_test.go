//go:build linux

package linear

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// judgeTime is how long the search may take for one key.
const judgeTime = 60 * time.Second

// register is one key: its state is its value. Every written value is
// another one, so that comparing versions is comparing values.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			in, out := input.(*event), output.(outcome)
			switch in.Kind {
			case read, consistent:
				return state == in.Value, state
			case write, remove:
				return true, in.Value
			}
			equal := state == in.Expect
			switch {
			case out == done:
				return equal, in.Value
			case out == no:
				return !equal, state
			case equal: // unknown
				return true, in.Value
			}
			return true, state
		},
		DescribeOperation: func(input, output any) string {
			in := input.(*event)
			return fmt.Sprintf("%s %q %q at %s: %s", in.Kind, in.Expect, in.Value, in.Server, output)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%q", state) },
	}
}

// operations are the events that bear on linearizability: what was never sent
// or promised not to be done is not part of it, so that a later read of such a
// value is a violation. A read without an answer says nothing.
func operations(events []*event) []porcupine.Operation {
	var ops []porcupine.Operation
	for _, e := range events {
		o := porcupine.Operation{ClientId: e.Client, Input: e, Output: e.Outcome, Call: int64(e.Call), Return: int64(e.Return)}
		switch {
		case e.Kind == stale, e.Outcome == refused, e.Outcome == unsent:
			continue
		case e.Outcome == unknown && e.Kind.reads():
			continue
		case e.Outcome == unknown:
			o.Return = never
		}
		ops = append(ops, o)
	}
	return ops
}

// verdict is what the judge found for one key.
type verdict struct {
	key    string
	faults []string
	info   *porcupine.LinearizationInfo // of a history that is not linearizable
}

// judge checks the events of one key, ordered by their call.
func judge(key string, events []*event, limit time.Duration) verdict {
	v := verdict{key: key}
	v.faults = append(v.faults, versions(events)...)
	v.faults = append(v.faults, staleness(events)...)
	v.faults = append(v.faults, backwards(events)...)
	result, info := porcupine.CheckOperationsVerbose(register(), operations(events), limit)
	switch result {
	case porcupine.Illegal:
		v.faults = append(v.faults, "the history is not linearizable")
		v.info = &info
	case porcupine.Unknown:
		v.faults = append(v.faults, fmt.Sprintf("the search over %d operations was not finished within %s", len(events), limit))
	}
	return v
}

// versions checks that a value has one ModifyIndex and an index one value, in
// whatever way they were read.
func versions(events []*event) (faults []string) {
	index, value := map[string]uint64{}, map[uint64]string{}
	for _, e := range events {
		if !e.Kind.reads() || e.Outcome != done || e.Index == 0 {
			continue
		}
		if i, ok := index[e.Value]; ok && i != e.Index {
			faults = append(faults, fmt.Sprintf("value %q was read with the indexes %d and %d", e.Value, i, e.Index))
		}
		if v, ok := value[e.Index]; ok && v != e.Value {
			faults = append(faults, fmt.Sprintf("index %d was read with the values %q and %q", e.Index, v, e.Value))
		}
		index[e.Value], value[e.Index] = e.Index, e.Value
	}
	return faults
}

// staleness checks that stale reads show what was asked to be written before
// they ended, and not what was refused.
func staleness(events []*event) (faults []string) {
	written := map[string]time.Duration{}
	for _, e := range events {
		if !e.Kind.reads() && e.Outcome != refused && e.Outcome != unsent && e.Outcome != no {
			written[e.Value] = e.Call
		}
	}
	for _, e := range events {
		if e.Kind != stale || e.Outcome != done || e.Value == "" {
			continue
		}
		if at, ok := written[e.Value]; !ok || at > e.Return {
			faults = append(faults, "a stale read shows what nobody has written: "+e.String())
		}
	}
	return faults
}

// backwards checks that indexes never go back: for stale reads at one life of
// one server, for other reads wherever a client asks.
func backwards(events []*event) (faults []string) {
	type reader struct {
		client int
		server string
	}
	newest := map[reader]*event{}
	for _, e := range events {
		if !e.Kind.reads() || e.Outcome != done {
			continue
		}
		r := reader{client: e.Client}
		if e.Kind == stale {
			if e.Server == "" { // another server each time
				continue
			}
			r.server = e.Server
		}
		if old := newest[r]; old != nil && (e.Result < old.Result || e.Index != 0 && e.Index < old.Index) {
			faults = append(faults, fmt.Sprintf("an index goes back:\n%s\n%s", old, e))
		}
		newest[r] = e
	}
	return faults
}

// check judges every key and fails the test for each fault, with the history
// and a picture of it in files that stay.
func check(t *testing.T, h *history) {
	t.Helper()
	began := time.Now()
	keys, ops := h.byKey(), 0
	for key, events := range keys {
		ops += len(events)
		if v := judge(key, events, judgeTime); len(v.faults) > 0 {
			t.Errorf("key %s:\n%s\nsee %s", key, strings.Join(v.faults[:min(len(v.faults), 5)], "\n"), keep(t, v, register(), lines(events)))
		}
	}
	t.Logf("judged %d operations on %d keys in %s", ops, len(keys), time.Since(began).Round(time.Millisecond))
}

func lines[T fmt.Stringer](history []T) (all []string) {
	for _, one := range history {
		all = append(all, one.String())
	}
	return all
}

// keep writes down what a verdict is about.
func keep(t *testing.T, v verdict, model porcupine.Model, history []string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "legate-linear-")
	if err != nil {
		t.Fatal(err)
	}
	all := append(slices.Clone(v.faults), history...)
	err = os.WriteFile(filepath.Join(dir, "history.txt"), []byte(strings.Join(all, "\n")+"\n"), 0o600)
	if err == nil && v.info != nil {
		err = porcupine.VisualizePath(model, *v.info, filepath.Join(dir, "history.html"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// at makes an event for the judge's own tests, with times in seconds.
func at(client int, k kind, value string, index uint64, call, back float64) *event {
	return &event{Client: client, Kind: k, Value: value, Index: index, Result: index, Outcome: done, Server: "s1#1",
		Call: time.Duration(call * float64(time.Second)), Return: time.Duration(back * float64(time.Second))}
}

func with(e *event, o outcome, expect string) *event {
	e.Outcome, e.Expect = o, expect
	return e
}

func TestTheJudgeKnowsRightFromWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []*event
		fault  string // in the verdict; empty for none
	}{
		{"a read after a write", []*event{at(1, write, "a", 0, 1, 2), at(2, read, "a", 5, 3, 4)}, ""},
		{"a read beside a write", []*event{at(1, write, "a", 0, 1, 4), at(2, read, "", 0, 2, 3)}, ""},
		{"an old value after a write", []*event{at(1, write, "a", 0, 1, 2), at(2, read, "", 0, 3, 4)}, "not linearizable"},
		{"an old value for consistent", []*event{at(1, write, "a", 0, 1, 2), at(2, consistent, "", 0, 3, 4)}, "not linearizable"},
		{"a stale old value", []*event{at(1, write, "a", 0, 1, 2), at(2, stale, "", 0, 3, 4)}, ""},
		{"a stale value of nobody", []*event{at(1, write, "a", 0, 1, 2), at(2, stale, "b", 6, 3, 4)}, "nobody has written"},
		{"a stale value before it is written", []*event{at(2, stale, "a", 6, 1, 2), at(1, write, "a", 0, 3, 4)}, "nobody has written"},
		{"stale reads that go back", []*event{at(1, write, "a", 0, 1, 2), at(2, stale, "a", 5, 3, 4), at(2, stale, "", 0, 5, 6)}, "goes back"},
		{"an unknown write is seen", []*event{with(at(1, write, "a", 0, 1, 2), unknown, ""), at(2, read, "", 0, 3, 4), at(2, read, "a", 5, 5, 6)}, ""},
		{"an unknown write is undone", []*event{with(at(1, write, "a", 0, 1, 2), unknown, ""), at(2, read, "a", 5, 3, 4), at(3, read, "", 0, 5, 6)}, "not linearizable"},
		{"a refused write is seen", []*event{with(at(1, write, "a", 0, 1, 2), refused, ""), at(2, read, "a", 5, 3, 4)}, "not linearizable"},
		{"a refused write is seen stale", []*event{with(at(1, write, "a", 0, 1, 2), refused, ""), at(2, stale, "a", 5, 3, 4)}, "nobody has written"},
		{"two compares win", []*event{with(at(1, swap, "a", 0, 1, 2), done, ""), with(at(2, swap, "b", 0, 1, 2), done, "")}, "not linearizable"},
		{"a compare loses", []*event{with(at(1, swap, "a", 0, 1, 2), done, ""), with(at(2, swap, "b", 0, 1, 2), no, "")}, ""},
		{"a compare loses for nothing", []*event{with(at(1, swap, "a", 0, 1, 2), no, "")}, "not linearizable"},
		{"a deletion", []*event{at(1, write, "a", 0, 1, 2), at(1, remove, "", 0, 3, 4), at(2, read, "", 6, 5, 6)}, ""},
		{"a value with two indexes", []*event{at(1, write, "a", 0, 1, 2), at(2, read, "a", 5, 3, 4), at(3, stale, "a", 6, 3, 4)}, "indexes 5 and 6"},
		{"an index with two values", []*event{at(1, write, "a", 0, 1, 4), at(1, write, "b", 0, 1, 4), at(2, stale, "a", 5, 3, 4), at(3, stale, "b", 5, 3, 4)}, "values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(judge("k", c.events, time.Minute).faults, "\n")
			if (c.fault == "") != (got == "") || !strings.Contains(got, c.fault) {
				t.Errorf("finds %q, want %q", got, c.fault)
			}
		})
	}
}

package judge

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// register is one key: its state is its value. Every written value is
// another one, so that comparing versions is comparing values.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			in, out := input.(*Event), output.(Outcome)
			switch in.Kind {
			case Read, Consistent:
				return state == in.Value, state
			case Write, Remove, Restored:
				return true, in.Value
			}
			equal := state == in.Expect
			switch {
			case out == Done:
				return equal, in.Value
			case out == No:
				return !equal, state
			case equal: // unknown
				return true, in.Value
			}
			return true, state
		},
		DescribeOperation: func(input, output any) string {
			in := input.(*Event)
			return fmt.Sprintf("%s %q %q %q at %s: %s", in.Kind, in.Expect, in.Value, in.Shelf, in.Server, output)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%q", state) },
	}
}

// operations are the events that bear on linearizability: what was never sent
// or promised not to be done is not part of it, so that a later read of such a
// value is a violation. A read without an answer says nothing.
func operations(events []*Event) []porcupine.Operation {
	var ops []porcupine.Operation
	for _, e := range events {
		o := porcupine.Operation{ClientId: e.Client, Input: e, Output: e.Outcome, Call: int64(e.Call), Return: int64(e.Return)}
		switch {
		case e.Kind == Stale, e.Outcome == Refused, e.Outcome == Unsent:
			continue
		case e.Outcome == Unknown && e.Kind.Reads():
			continue
		case e.Outcome == Unknown:
			o.Return = Never
		}
		ops = append(ops, o)
	}
	return ops
}

// Verdict is what the judge found for one key.
type Verdict struct {
	Key    string
	Faults []string
	Info   *porcupine.LinearizationInfo // of a history that is not linearizable
}

// Judge checks the events of one key, ordered by their call.
func Judge(key string, events []*Event, limit time.Duration) Verdict {
	v := Verdict{Key: key}
	v.Faults = append(v.Faults, versions(events)...)
	v.Faults = append(v.Faults, staleness(events)...)
	v.Faults = append(v.Faults, backwards(events)...)
	result, info := porcupine.CheckOperationsVerbose(ModelOf(key), operations(events), limit)
	switch result {
	case porcupine.Illegal:
		v.Faults = append(v.Faults, "the history is not linearizable")
		v.Info = &info
	case porcupine.Unknown:
		v.Faults = append(v.Faults, fmt.Sprintf("the search over %d operations was not finished within %s", len(events), limit))
	}
	return v
}

// versions checks that a value has one ModifyIndex and an index one value, in
// whatever way they were read.
func versions(events []*Event) (faults []string) {
	index, value := map[string]uint64{}, map[uint64]string{}
	for _, e := range events {
		if !e.Kind.Reads() || e.Outcome != Done || e.Index == 0 {
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
func staleness(events []*Event) (faults []string) {
	written := map[string]time.Duration{}
	for _, e := range events {
		if !e.Kind.Reads() && e.Kind != Restored && e.Outcome != Refused && e.Outcome != Unsent && e.Outcome != No {
			written[e.Value] = e.Call
		}
	}
	for _, e := range events {
		if e.Kind != Stale || e.Outcome != Done || e.Value == "" {
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
func backwards(events []*Event) (faults []string) {
	type reader struct {
		client int
		server string
	}
	newest := map[reader]*Event{}
	var restored []*Event
	for _, e := range events {
		if e.Kind == Restored {
			restored = append(restored, e)
		}
		if !e.Kind.Reads() || e.Outcome != Done || e.Kind == SeenTxn || e.Client == keeper { // transactions show no index
			continue
		}
		r := reader{client: e.Client}
		if e.Kind == Stale {
			if e.Server == "" { // another server each time
				continue
			}
			r.server = e.Server
		}
		old := newest[r]
		if old != nil && (e.Result < old.Result || e.Index != 0 && e.Index < old.Index && !restoredBetween(restored, old, e)) {
			faults = append(faults, fmt.Sprintf("an index goes back:\n%s\n%s", old, e))
		}
		newest[r] = e
	}
	return faults
}

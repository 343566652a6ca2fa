package judge

import (
	"strings"
	"testing"
	"time"
)

// at makes an event for the judge's own tests, with times in seconds.
func at(client int, k Kind, value string, index uint64, call, back float64) *Event {
	return &Event{Client: client, Kind: k, Value: value, Index: index, Result: index, Outcome: Done, Server: "s1#1",
		Call: time.Duration(call * float64(time.Second)), Return: time.Duration(back * float64(time.Second))}
}

func with(e *Event, o Outcome, expect string) *Event {
	e.Outcome, e.Expect = o, expect
	return e
}

func seen(e *Event, result uint64) *Event {
	e.Result = result
	return e
}

func TestTheJudgeKnowsRightFromWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []*Event
		fault  string // in the verdict; empty for none
	}{
		{"a read after a write", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Read, "a", 5, 3, 4)}, ""},
		{"a read beside a write", []*Event{at(1, Write, "a", 0, 1, 4), at(2, Read, "", 0, 2, 3)}, ""},
		{"an old value after a write", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Read, "", 0, 3, 4)}, "not linearizable"},
		{"an old value for consistent", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Consistent, "", 0, 3, 4)}, "not linearizable"},
		{"a stale old value", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Stale, "", 0, 3, 4)}, ""},
		{"a stale value of nobody", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Stale, "b", 6, 3, 4)}, "nobody has written"},
		{"a stale value before it is written", []*Event{at(2, Stale, "a", 6, 1, 2), at(1, Write, "a", 0, 3, 4)}, "nobody has written"},
		{"stale reads that go back", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Stale, "a", 5, 3, 4), at(2, Stale, "", 0, 5, 6)}, "goes back"},
		{"an unknown write is seen", []*Event{with(at(1, Write, "a", 0, 1, 2), Unknown, ""), at(2, Read, "", 0, 3, 4), at(2, Read, "a", 5, 5, 6)}, ""},
		{"an unknown write is undone", []*Event{with(at(1, Write, "a", 0, 1, 2), Unknown, ""), at(2, Read, "a", 5, 3, 4), at(3, Read, "", 0, 5, 6)}, "not linearizable"},
		{"a refused write is seen", []*Event{with(at(1, Write, "a", 0, 1, 2), Refused, ""), at(2, Read, "a", 5, 3, 4)}, "not linearizable"},
		{"a refused write is seen stale", []*Event{with(at(1, Write, "a", 0, 1, 2), Refused, ""), at(2, Stale, "a", 5, 3, 4)}, "nobody has written"},
		{"two compares win", []*Event{with(at(1, Swap, "a", 0, 1, 2), Done, ""), with(at(2, Swap, "b", 0, 1, 2), Done, "")}, "not linearizable"},
		{"a compare loses", []*Event{with(at(1, Swap, "a", 0, 1, 2), Done, ""), with(at(2, Swap, "b", 0, 1, 2), No, "")}, ""},
		{"a compare loses for nothing", []*Event{with(at(1, Swap, "a", 0, 1, 2), No, "")}, "not linearizable"},
		{"a deletion", []*Event{at(1, Write, "a", 0, 1, 2), at(1, Remove, "", 0, 3, 4), at(2, Read, "", 6, 5, 6)}, ""},
		{"a value that is restored", []*Event{at(1, Write, "a", 0, 1, 2), at(1, Write, "b", 0, 3, 4), at(9, Restored, "a", 0, 5, 6), at(2, Read, "a", 5, 7, 8)}, ""},
		{"a value that is not restored", []*Event{at(1, Write, "a", 0, 1, 2), at(1, Write, "b", 0, 3, 4), at(9, Restored, "a", 0, 5, 6), at(2, Read, "b", 6, 7, 8)}, "not linearizable"},
		{"a version that is restored", []*Event{at(1, Write, "a", 0, 1, 2), seen(at(1, Stale, "a", 5, 2, 3), 5), at(1, Write, "b", 0, 3, 4), seen(at(1, Stale, "b", 6, 4, 5), 6), at(9, Restored, "a", 0, 5, 6), seen(at(1, Stale, "a", 5, 7, 8), 9)}, ""},
		{"a version that one server restores later", []*Event{at(1, Write, "a", 0, 1, 2), at(1, Write, "b", 0, 3, 4), at(9, Restored, "a", 0, 5, 6), seen(at(1, Stale, "b", 6, 7, 8), 6), seen(at(1, Stale, "a", 5, 9, 10), 9)}, ""},
		{"an index that goes back after a restoration", []*Event{seen(at(1, Stale, "", 0, 4, 5), 6), at(9, Restored, "", 0, 5, 6), seen(at(1, Stale, "", 0, 7, 8), 5)}, "goes back"},
		{"a value with two indexes", []*Event{at(1, Write, "a", 0, 1, 2), at(2, Read, "a", 5, 3, 4), at(3, Stale, "a", 6, 3, 4)}, "indexes 5 and 6"},
		{"an index with two values", []*Event{at(1, Write, "a", 0, 1, 4), at(1, Write, "b", 0, 1, 4), at(2, Stale, "a", 5, 3, 4), at(3, Stale, "b", 5, 3, 4)}, "values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(Judge("k", c.events, time.Minute).Faults, "\n")
			if (c.fault == "") != (got == "") || !strings.Contains(got, c.fault) {
				t.Errorf("finds %q, want %q", got, c.fault)
			}
		})
	}
}

func TestTheJudgeOfShelvesKnowsRightFromWrong(t *testing.T) {
	on := func(client int, k Kind, row Row, call, back float64) *Event {
		e := at(client, k, "", 0, call, back)
		e.Key, e.Shelf = ShelfPrefix, row
		return e
	}
	first := on(1, Together, Row{"a", "a", ""}, 1, 2)
	second := on(1, Together, Row{"b", "b", ""}, 3, 6)
	for _, c := range []struct {
		name  string
		after []*Event
		wrong bool
	}{
		{"all of a transaction", []*Event{on(2, List, Row{"b", "b", ""}, 4, 5), on(3, SeenTxn, Row{"b", "b", ""}, 7, 8)}, false},
		{"nothing of it yet", []*Event{on(2, SeenTxn, Row{"a", "a", ""}, 4, 5)}, false},
		{"half of it in a list", []*Event{on(2, List, Row{"b", "a", ""}, 4, 5)}, true},
		{"half of it in a transaction", []*Event{on(2, SeenTxn, Row{"a", "b", ""}, 4, 5)}, true},
		{"an old list", []*Event{on(2, List, Row{"a", "a", ""}, 7, 8)}, true},
		{"a key that nobody wrote", []*Event{on(2, KeysAlone, Row{"x", "x", "x"}, 4, 5)}, true},
		{"a tree that is gone", []*Event{on(2, Clear, Row{}, 7, 8), on(3, KeysAlone, Row{}, 9, 10)}, false},
		{"a tree that is half gone", []*Event{on(2, Clear, Row{}, 7, 8), on(3, KeysAlone, Row{"x"}, 9, 10)}, true},
		{"a check that holds", []*Event{with(on(2, Guarded, Row{"", "", "c"}, 7, 8), Done, "b")}, false},
		{"a check that cannot hold", []*Event{with(on(2, Guarded, Row{"", "", "c"}, 7, 8), Done, "a")}, true},
		{"a check that fails for nothing", []*Event{with(on(2, Guarded, Row{"", "", "c"}, 7, 8), No, "b")}, true},
		{"what failed is seen", []*Event{with(on(2, Guarded, Row{"", "", "c"}, 7, 8), No, "a"), on(3, List, Row{"b", "b", "c"}, 9, 10)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := Judge(ShelfPrefix, append([]*Event{first, second}, c.after...), time.Minute).Faults
			if c.wrong != (len(faults) > 0) {
				t.Errorf("finds %q", faults)
			}
		})
	}
}

package unchanged

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// ask is a request that waits for a minute from an index. It reports whether an
// answer at another index is known.
func ask(a *Answers, question string, has, index uint64, body string) bool {
	var w Wait
	w.On(has, time.Minute)
	return w.Unchanged(a, question, index, []byte(body))
}

func TestOnlyTheSameAnswerAtTheIndexThatTheClientHasIsKnown(t *testing.T) {
	a := New()
	if ask(a, "q", 0, 5, "one") {
		t.Error("known to who has nothing")
	}
	for _, c := range []struct {
		question   string
		has, index uint64
		body       string
		want       bool
	}{
		{"q", 5, 6, "one", true},
		{"q", 6, 8, "one", true},
		{"q", 5, 9, "one", true},
		{"q", 7, 10, "one", false}, // at 7 it may have been another one
		{"other", 5, 6, "one", false},
		{"q", 10, 11, "two", false},
		{"q", 10, 12, "two", false}, // the client has one
		{"q", 11, 12, "two", true},
		{"q", 12, 13, "one", false},
		{"q", 12, 14, "one", false}, // it was two
		{"q", 14, 14, "one", false}, // its time was over at the source
		{"q", 14, 13, "one", false}, // back: the client has to know
	} {
		if got := ask(a, c.question, c.has, c.index, c.body); got != c.want {
			t.Errorf("%+v: known is %v", c, got)
		}
	}
}

func TestAWaitGoesOnForWhatIsLeftOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New()
		ask(a, "q", 0, 5, "one")
		var w Wait
		if index, d := w.On(5, time.Minute); index != 5 || d != time.Minute {
			t.Errorf("begins at %d for %s", index, d)
		}
		<-time.After(20 * time.Second)
		if !w.Unchanged(a, "q", 7, []byte("one")) {
			t.Error("not known")
		}
		if index, d := w.On(5, time.Minute); index != 7 || d != 40*time.Second {
			t.Errorf("goes on at %d for %s", index, d)
		}
		<-time.After(40 * time.Second)
		if w.Unchanged(a, "q", 9, []byte("one")) {
			t.Error("it goes on after its time")
		}
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	a := New()
	for i := range MaxQuestions + 10 {
		ask(a, fmt.Sprint(i), 0, 1, "x")
	}
	if n := a.last.Len(); n != MaxQuestions {
		t.Errorf("%d questions", n)
	}
	if ask(a, "0", 1, 2, "x") || !ask(a, fmt.Sprint(MaxQuestions), 1, 2, "x") {
		t.Error("not the oldest were forgotten")
	}
}

// BenchmarkKnown is what it costs to tell whether an answer of 10 kB is news.
func BenchmarkKnown(b *testing.B) {
	a, body := New(), bytes.Repeat([]byte("x"), 10<<10)
	b.ReportAllocs()
	for i := uint64(1); b.Loop(); i++ {
		a.note("a question of some length, with its token and ?filter", i, i+1, body)
	}
}

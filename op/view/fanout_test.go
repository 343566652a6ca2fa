package view

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
)

// The index of what is of several datacenters tells results apart, not which is
// newer: each other one is taken at once, and ends a wait.
func TestResultsOfSeveralDatacentersMayGoBack(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		h := op.Header{Datacenter: op.Nearest, Consistency: op.Cached}
		o.set("web", "one", 900)
		for i, next := range []uint64{5, 700, 6} {
			text, meta, err := get(t, v, h, "web")
			if err != nil || !meta.Opaque {
				t.Fatalf("%q %+v %v", text, meta, err)
			}
			waiting := h
			waiting.MinIndex, waiting.MaxWait = meta.Index, time.Minute
			want := fmt.Sprint("text ", i)
			go func() {
				<-time.After(time.Second) // virtual
				o.set("web", want, next)
			}()
			begin := time.Now()
			text, meta, err = get(t, v, waiting, "web")
			if err != nil || text != want || meta.Index != next || time.Since(begin) != time.Second {
				t.Errorf("%d after another one: %q %+v %v after %s", next, text, meta, err, time.Since(begin))
			}
		}
	})
}

// That a list cannot be answered says nothing about what else is asked of it.
func TestAFailureOfSeveralDatacentersIsOfOneQuestion(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		o.cut(op.Errorf(op.CodeUnreachableDatacenter, "No path to datacenter"))
		h := op.Header{Datacenter: "dc2,dc3", Consistency: op.Cached}
		if _, _, err := get(t, v, h, "db"); op.CodeOf(err) != op.CodeUnreachableDatacenter {
			t.Fatal(err)
		}
		o.cut(nil)
		o.set("web", "there", 3)
		synctest.Wait()
		if text, _, err := get(t, v, h, "web"); err != nil || text != "there" {
			t.Errorf("another question: %q %v", text, err)
		}
	})
}

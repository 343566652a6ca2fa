package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// carryOut does what a caller does with writes.
func carryOut(w *Writes) (done bool, err error) {
	d := Drafts{}
	defer func() { err = errors.Join(err, d.Discard()) }()
	if err := d.Prepare(w); err != nil {
		return false, err
	}
	if !d.Ready(w) {
		return false, errors.New("not all is prepared")
	}
	done, err = w.CarryOut(d)
	return done, errors.Join(err, w.Flush())
}

func TestValuesAreReplacedAndForgotten(t *testing.T) {
	dir := t.TempDir()
	d := New(dir, "durable")
	for _, step := range []struct {
		folder, value, want string // an empty value is forgotten
	}{
		{"durable", "one", `"one"`}, {"durable", "two", `"two"`}, {"durable", "", ""}, {"durable", "", ""},
		{"other/below", "one", `"one"`}, {"other/below", "", ""},
	} {
		w := d.Begin()
		if step.value == "" {
			w.Forget(step.folder, "any \x00 ID")
		} else if err := w.Keep(step.folder, "any \x00 ID", step.value); err != nil {
			t.Fatal(err)
		}
		if done, err := carryOut(w); !done || err != nil {
			t.Errorf("%+v: %t, %v", step, done, err)
		}
		got, err := os.ReadFile(d.Path(step.folder, "any \x00 ID"))
		if string(got) != step.want || (err == nil) != (step.want != "") {
			t.Errorf("%+v: the file has %s, %v", step, got, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", Unfinished+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAnEmptyNameKeepsNothing(t *testing.T) {
	w := New("", "durable").Begin()
	if err := w.Keep("durable", "id", "value"); err != nil {
		t.Fatal(err)
	}
	w.Forget("durable", "id")
	if done, err := carryOut(w); !done || err != nil {
		t.Errorf("%t, %v", done, err)
	}
}

// What is not there when it should be leaves the old value, and nothing else.
func TestAFailureLeavesWhatWas(t *testing.T) {
	d := New(t.TempDir(), "durable")
	keep := func(value string) *Writes {
		w := d.Begin()
		if err := w.Keep("durable", "id", value); err != nil {
			t.Fatal(err)
		}
		return w
	}
	if _, err := carryOut(keep("old")); err != nil {
		t.Fatal(err)
	}
	w, drafts := keep("new"), Drafts{}
	if err := drafts.Prepare(w); err != nil {
		t.Fatal(err)
	}
	for _, p := range drafts { // somebody else tidies up
		if err := os.Remove(p.tmp); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := w.CarryOut(drafts); done || err == nil || !strings.Contains(err.Error(), `keep durable of "id"`) {
		t.Errorf("%t, %v", done, err)
	}
	if got, err := os.ReadFile(d.Path("durable", "id")); string(got) != `"old"` || err != nil {
		t.Errorf("the file has %s, %v", got, err)
	}
}

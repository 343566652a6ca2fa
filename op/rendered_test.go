package op

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// What was made of a shared result is made once between two collections of garbage, and takes no room after one.
func TestWhatIsRenderedGoesWithItsUse(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // only when the test says so
	var r Rendered
	made := 0
	get := func() []byte {
		b, err := r.get("json", func() ([]byte, error) { made++; return make([]byte, 1<<20), nil })
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	get()
	if get(); made != 1 {
		t.Errorf("made %d times", made)
	}
	runtime.GC()
	if b := get(); made != 2 || len(b) != 1<<20 {
		t.Errorf("after a collection: made %d times, %d bytes", made, len(b))
	}
}

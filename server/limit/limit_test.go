package limit

import "testing"

func TestBoundIsKept(t *testing.T) {
	l := New(2)
	if !l.Enter() || !l.Enter() || l.Enter() {
		t.Fatalf("%d are in progress, not 2", l.InUse())
	}
	l.Leave()
	if !l.Enter() || l.InUse() != l.Max() {
		t.Errorf("the place that was given back is not free: %d of %d", l.InUse(), l.Max())
	}
}

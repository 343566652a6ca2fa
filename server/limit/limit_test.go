package limit

import "testing"

func TestBoundIsKept(t *testing.T) {
	l := New(2)
	first, second, third := l.Enter(), l.Enter(), l.Enter()
	if !first || !second || third {
		t.Fatalf("%d are in progress, not 2", l.InUse())
	}
	l.Leave()
	if !l.Enter() || l.InUse() != l.Max() {
		t.Errorf("the place that was given back is not free: %d of %d", l.InUse(), l.Max())
	}
}

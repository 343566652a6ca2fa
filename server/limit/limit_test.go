package limit

import "testing"

func TestBoundIsKept(t *testing.T) {
	l := New(2)
	first, second, third := l.TryAcquire(), l.TryAcquire(), l.TryAcquire()
	if !first || !second || third {
		t.Fatalf("%d are in progress, not 2", l.InUse())
	}
	l.Release()
	if !l.TryAcquire() || l.InUse() != l.Max() {
		t.Errorf("the place that was given back is not free: %d of %d", l.InUse(), l.Max())
	}
}

package silence

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who is given up and heard again soon gets more patience, for a while and up to a bound.
func TestPatienceGrowsWithMistakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slack
		want := func(factor time.Duration) {
			t.Helper()
			if got := s.Factor(); got != factor {
				t.Errorf("patience × %d, not %d", got, factor)
			}
		}
		s.Heard("a")
		want(1)
		s.GaveUp("a")
		pass(mistaken)
		s.Heard("a") // it was away
		want(1)
		for _, factor := range []time.Duration{2, 4, 8, 8} {
			s.GaveUp("a")
			pass(mistaken - time.Second)
			s.Heard("a")
			want(factor)
		}
		s.Heard("a") // a second connection, and no mistake
		want(8)
		pass(slackFor - time.Millisecond)
		want(8)
		pass(time.Millisecond)
		want(1)
		s.GaveUp("a")
		s.Heard("another way")
		want(1)
		s.GaveUp("a")
		s.Heard("a")
		want(2)
	})
}

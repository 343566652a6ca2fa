package byname

import "testing"

func TestTheLongestMatchCounts(t *testing.T) {
	table := New(map[string]int{"API": 1, "api-*": 2, "api*": 3, "*": 4})
	for name, want := range map[string]int{"api": 1, "api-v1": 2, "apis": 3, "web": 4} {
		if got := table.Of(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if got := New(map[string]int{"api": 1}).Of("web"); got != 0 {
		t.Errorf("what nothing is said of: %d", got)
	}
}

package layout

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// openKey is Key with an open end: keys whose first parts are the given ones
// and whose next part begins with the last. With an empty last part it is Key
// of the others.
func openKey(parts ...string) []byte {
	if len(parts) == 0 {
		return nil
	}
	last := len(parts) - 1
	return appendEscaped(Key(parts[:last]...), parts[last])
}

func TestKeysKeepTheOrderOfTheirParts(t *testing.T) {
	part := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 0, 3),
		func(b []byte) string { return string(b) })
	parts := rapid.SliceOfN(part, 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		ka, kb := Key(a...), Key(b...)
		if got, want := bytes.Compare(ka, kb), slices.Compare(a, b); got != want {
			t.Fatalf("%q and %q compare as %d, their parts as %d", ka, kb, got, want)
		}
		back, err := SplitKey(ka)
		if err != nil || !slices.Equal(back, a) {
			t.Fatalf("split %q: %q, %v; want %q", ka, back, err, a)
		}
		n := len(b) - 1
		want := len(a) >= n && slices.Equal(a[:n], b[:n]) && (b[n] == "" || len(a) > n && strings.HasPrefix(a[n], b[n]))
		if got := bytes.HasPrefix(ka, openKey(b...)); got != want {
			t.Fatalf("%q begins with %q: %v, want %v", ka, openKey(b...), got, want)
		}
	})
}

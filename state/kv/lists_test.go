package kv

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/storage"
)

// However a list is cut into parts, they are the list.
func TestPartsAreTheWhole(t *testing.T) {
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	random := rand.New(rand.NewPCG(1, 2))
	tx := s.Begin()
	for range 300 {
		tx.Next()
		key := "p"
		for range 1 + random.IntN(3) {
			key += []string{"/", "", "//"}[random.IntN(3)] + string(rune('a'+random.IntN(5)))
		}
		e := Entry{Key: key, Value: make([]byte, random.IntN(200))}
		if _, err := ApplyEntry(tx, &ApplyRequest{Verb: []string{Set, Set, Delete}[random.IntN(3)], Entry: e}); err != nil {
			t.Fatal(err)
		}
	}
	check(t, tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	v := s.View()
	defer v.Close()
	check(t, v)
}

func check(t *testing.T, r storage.Reader) {
	t.Helper()
	for _, prefix := range []string{"", "p", "p/", "pa", "none"} {
		req := &ListRequest{Prefix: prefix}
		whole, err := listEntries(r, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, max := range []int{0, 1, 500, 5000} {
			got := gather(t, func(after []byte) ([]Entry, []byte, error) {
				list, next, err := partOfEntries(r, req, after, max)
				return *list, next, err
			})
			if fmt.Sprint(got) != fmt.Sprint([]Entry(*whole)) {
				t.Errorf("entries of %q in parts of %d: %d, want %d", prefix, max, len(got), len(*whole))
			}
		}
		for _, separator := range []string{"", "/", "//", "a"} {
			req := &KeysRequest{Prefix: prefix, Separator: separator}
			whole, err := listKeys(r, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, max := range []int{0, 40, 500} {
				got := gather(t, func(after []byte) ([]string, []byte, error) {
					list, next, err := partOfKeys(r, req, after, max)
					return *list, next, err
				})
				if !slices.Equal(got, *whole) {
					t.Errorf("keys of %q by %q in parts of %d: %s\nwant %s", prefix, separator, max, strings.Join(got, " "), strings.Join(*whole, " "))
				}
			}
		}
	}
}

// gather puts parts together; each but the last has something.
func gather[T any](t *testing.T, part func(after []byte) ([]T, []byte, error)) (all []T) {
	t.Helper()
	for after := []byte(nil); ; {
		list, next, err := part(after)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
		if next == nil {
			return all
		}
		if len(list) == 0 {
			t.Fatal("a part that is not the last is empty")
		}
		after = next
	}
}

package state

import (
	"fmt"
	"testing"

	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
)

// What a session holds is listed up to a limit, and that there is more is said.
func TestTheKeysOfASessionAreListed(t *testing.T) {
	s := newScene(t)
	id := s.session("")
	const all = kv.MaxHeld + 5
	for i := range all {
		if !s.kv(kv.Lock, fmt.Sprintf("k/%04d", all-i-1), id) {
			t.Fatal("not locked")
		}
	}
	for limit, want := range map[int]int{0: kv.MaxHeld, 1: 1, kv.MaxHeld + 1: kv.MaxHeld, -1: kv.MaxHeld} {
		held, _ := read(t, s.state, &kv.ListHeld, &kv.HeldRequest{Session: id, Limit: limit})
		if len(held.Keys) != want || !held.More || held.Keys[0].Key != "k/0000" || held.Keys[want-1].Key != fmt.Sprintf("k/%04d", want-1) {
			t.Errorf("limit %d: %d keys, want %d; more: %v", limit, len(held.Keys), want, held.More)
		}
	}
	for i := range 5 {
		s.kv(kv.Unlock, fmt.Sprintf("k/%04d", i), id)
	}
	if held, _ := read(t, s.state, &kv.ListHeld, &kv.HeldRequest{Session: id}); len(held.Keys) != kv.MaxHeld || held.More {
		t.Errorf("%d keys, want %d and no more: %v", len(held.Keys), kv.MaxHeld, held.More)
	}
	if held, _ := read(t, s.state, &kv.ListHeld, &kv.HeldRequest{Session: "none"}); len(held.Keys) > 0 || held.More {
		t.Errorf("no session holds %+v", held)
	}
}

// Of what a session holds everybody sees the keys that he may read, if he may read the session.
func TestKeysOfASessionAreShownToWhoMayReadThem(t *testing.T) {
	const session, key = `session "n1" { policy = "read" }`, `key "mine" { policy = "read" }`
	none := kv.Held{}
	if kv.ListHeld.Filter(rules.Compile(rules.Settings{}, nil).For("somebody"), &none) {
		t.Error("something is hidden of no session")
	}
	for text, want := range map[string]string{
		"": "0 true", key: "0 true", session: "0 true", session + key: "1 true", session + `key_prefix "" { policy = "read" }`: "2 false",
		`session "other" { policy = "read" }` + key: "0 true",
	} {
		p, err := rules.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		held := &kv.Held{Node: "n1", Keys: []kv.HeldKey{{Key: "mine"}, {Key: "other"}}, More: true}
		shown, filtered := kv.ListHeld.Hide(rules.Compile(rules.Settings{}, p).For("somebody"), held)
		got := shown.(*kv.Held)
		if s := fmt.Sprint(len(got.Keys), " ", filtered); s != want || len(held.Keys) != 2 {
			t.Errorf("%q: %s, want %s", text, s, want)
		}
		if len(got.Keys) == 0 && got.More && text != session {
			t.Errorf("%q: it is told that there is more", text)
		}
	}
}

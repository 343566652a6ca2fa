package rules

import (
	"fmt"
	"sync"
	"testing"
)

func TestEqualRulesAreOneTree(t *testing.T) {
	c := NewTrees(100)
	p := func(text string) *Policy {
		parsed, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	a, b := `key "a" { policy = "read" }`, `service "b" { policy = "write" }`
	one := c.Compile(Settings{}, Merge(p(a), p(b)))
	if same := c.Compile(Settings{}, Merge(p(b), p(a), p(a))); same != one {
		t.Error("equal rules are two trees")
	}
	if Identity(one.For("x")) != one || Identity(one.For("y")) != one {
		t.Error("callers of one tree are not told to see the same")
	}
	if Identity(AllowAll()) != nil {
		t.Error("who asks no tree has one")
	}
	others := map[*Tree]string{one: "the first"}
	for _, text := range []string{"", a, b, `key_prefix "a" { policy = "read" }`, `key "a" { policy = "list" }`, `node "a" { policy = "read" }`} {
		for _, s := range []Settings{{}, {DefaultAllow: true}, {KeyList: true}, {DefaultAllow: true, KeyList: true}} {
			tree, is := c.Compile(s, p(text)), fmt.Sprint(s, text)
			if was, ok := others[tree]; ok {
				t.Errorf("%s is the tree of %s", is, was)
			}
			others[tree] = is
		}
	}
}

func TestTreesAreBounded(t *testing.T) {
	c := NewTrees(2)
	tree := func(name string) *Tree {
		return c.Compile(Settings{}, &Policy{Rules: []Rule{{Resource: Key, Name: name, Access: Read}}})
	}
	a, b := tree("a"), tree("b")
	if tree("a") != a {
		t.Error("forgotten before the bound")
	}
	tree("c") // b was asked for less lately than a
	if len(c.byHash) != 2 || c.order.Len() != 2 {
		t.Errorf("%d trees", len(c.byHash))
	}
	if tree("a") != a || tree("b") == b {
		t.Error("not the one is forgotten that was asked for first")
	}
}

func TestTreesAtOnce(t *testing.T) {
	c := NewTrees(1000)
	got := make([]*Tree, 64)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			for n := range 200 {
				tree := c.Compile(Settings{}, &Policy{Rules: []Rule{{Resource: Key, Name: fmt.Sprint(n), Access: Read}}})
				if n == 77 {
					got[i] = tree
				}
			}
		})
	}
	wg.Wait()
	for _, tree := range got {
		if tree != got[0] {
			t.Fatal("those who asked at once have several trees")
		}
	}
}

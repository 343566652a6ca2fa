package keyring

import (
	"cmp"
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/state/status"
)

const (
	// membersShown bounds how many members of a pool are named.
	membersShown = 256
	// keysShown bounds how many different keys of a pool are counted, which members
	// choose.
	keysShown = 64
	// lackersShown bounds how many members one text names.
	lackersShown = 5
)

// summarize counts what members answered, and names those that are not as the others.
func summarize(out *status.Keyring, members []gossip.MemberKeys) {
	out.Keys, out.PrimaryKeys, out.Messages = map[string]int{}, map[string]int{}, map[string]string{}
	for i := range members {
		m := &members[i]
		if m.Status == gossip.Alive {
			out.NumNodes++
		}
		for j, key := range m.Keys {
			count(out.Keys, key)
			if j == 0 {
				count(out.PrimaryKeys, key)
			}
		}
	}
	usual := most(out.PrimaryKeys)
	for i := range members {
		one, other := exception(&members[i], out.Keys, usual)
		if !other {
			continue
		}
		if len(out.Members) >= membersShown {
			out.More++
			continue
		}
		out.Members = append(out.Members, one)
		if text := message(&one); text != "" && len(out.Messages) < membersShown {
			out.Messages[one.Name] = text
		}
	}
}

func count(of map[string]int, key []byte) {
	text := base64.StdEncoding.EncodeToString(key)
	if _, known := of[text]; known || len(of) < keysShown {
		of[text]++
	}
}

// most is the key that the most members use.
func most(of map[string]int) string {
	keys := slices.Sorted(maps.Keys(of))
	if len(keys) == 0 {
		return ""
	}
	return slices.MaxFunc(keys, func(a, b string) int { return cmp.Compare(of[a], of[b]) })
}

// exception says in what a member differs, if it does.
func exception(m *gossip.MemberKeys, all map[string]int, usual string) (status.KeyringMember, bool) {
	one := status.KeyringMember{Name: m.Name, Status: m.Status.String(), Server: m.Server, Answered: m.Answered, Error: m.Error}
	if !m.Answered {
		return one, true
	}
	has := map[string]bool{}
	for _, key := range m.Keys {
		has[base64.StdEncoding.EncodeToString(key)] = true
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !has[key] {
			one.Lacks = append(one.Lacks, key)
		}
	}
	if len(m.Keys) > 0 {
		if uses := base64.StdEncoding.EncodeToString(m.Keys[0]); uses != usual {
			one.Uses = uses
		}
	}
	return one, one.Error != "" || one.Lacks != nil || one.Uses != ""
}

// message is what people are told of a member that they should look at.
func message(m *status.KeyringMember) string {
	switch {
	case m.Error != "":
		return m.Error
	case !m.Answered:
		return "did not answer (" + m.Status + ")"
	}
	return ""
}

// lackers names members that lack a key.
func lackers(k *status.Keyring, key string) string {
	var names []string
	for i := range k.Members {
		if slices.Contains(k.Members[i].Lacks, key) {
			names = append(names, k.Members[i].Name)
		}
	}
	if len(names) > lackersShown {
		names = append(names[:lackersShown], "...")
	}
	return strings.Join(names, ", ")
}

package config

import (
	"fmt"
	"slices"
	"strings"
)

// cloudProviders are those that a CloudJoin may name, in order.
var cloudProviders = [...]string{"aws", "azure", "digitalocean", "gce", "mdns"}

// cloudJoinPrefix begins an entry of retry_join that is no address.
const cloudJoinPrefix = "provider="

// maxCloudJoin is the longest such entry, in bytes: a key file in one of its
// values has a few thousand.
const maxCloudJoin = 16 << 10

// CloudJoin is an entry of retry_join or retry_join_wan that asks a cloud for
// the addresses of members: provider=aws tag_key=role tag_value=legate.
type CloudJoin struct {
	Provider string
	// Args are the other keys; their values may be secrets.
	Args map[string]string
}

// IsCloudJoin tells whether an entry asks a cloud, and is no address.
func IsCloudJoin(entry string) bool {
	return strings.HasPrefix(strings.TrimSpace(entry), cloudJoinPrefix)
}

// ParseCloudJoin reads keys and values with = between them and spaces between
// pairs. What contains spaces, =, quotes or backslashes stands in double
// quotes, with \ before quotes and backslashes. Errors name keys and no values.
func ParseCloudJoin(entry string) (CloudJoin, error) {
	if len(entry) > maxCloudJoin {
		return CloudJoin{}, fmt.Errorf("is %d bytes long, the most are %d", len(entry), maxCloudJoin)
	}
	args := map[string]string{}
	for rest := strings.TrimSpace(entry); rest != ""; rest = strings.TrimLeft(rest, " \t\n") {
		key, after, err := cloudWord(rest)
		if err != nil {
			return CloudJoin{}, fmt.Errorf("the key of pair %d: %w", len(args)+1, err)
		}
		if key == "" || !strings.HasPrefix(after, "=") {
			return CloudJoin{}, fmt.Errorf("pair %d is no key=value", len(args)+1)
		}
		value, after, err := cloudWord(after[1:])
		switch _, twice := args[key]; {
		case err != nil:
			return CloudJoin{}, fmt.Errorf("the value of %s: %w", key, err)
		case twice:
			return CloudJoin{}, fmt.Errorf("%s is there twice", key)
		case value == "":
			return CloudJoin{}, fmt.Errorf("%s has no value", key)
		case strings.HasPrefix(after, "="):
			return CloudJoin{}, fmt.Errorf("the value of %s contains =: it must stand in double quotes", key)
		}
		args[key], rest = value, after
	}
	provider := args["provider"]
	if !slices.Contains(cloudProviders[:], provider) {
		return CloudJoin{}, unknownProvider(provider)
	}
	delete(args, "provider")
	return CloudJoin{Provider: provider, Args: args}, nil
}

// cloudWord cuts a word, plain or quoted, from the front.
func cloudWord(s string) (word, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t\n=\"\\")
		if end < 0 {
			return s, "", nil
		}
		if c := s[end]; c == '"' || c == '\\' {
			return "", "", fmt.Errorf("contains %q: it must stand in double quotes", c)
		}
		return s[:end], s[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("its double quotes are not closed")
}

// unknownProvider says which there are, and for one that is left out what to
// do.
func unknownProvider(name string) error {
	known := strings.Join(cloudProviders[:], ", ")
	if name == "k8s" {
		return fmt.Errorf("provider %q is not built in: join through the name of a headless service instead, all addresses of a name are tried (built in are %s)", name, known)
	}
	return fmt.Errorf("unknown provider %q: built in are %s; or give addresses that a script has found", name, known)
}

// String has the provider alone, as the arguments may be secrets.
func (c CloudJoin) String() string {
	if len(c.Args) == 0 {
		return cloudJoinPrefix + c.Provider
	}
	return fmt.Sprintf("%s%s (and %d keys)", cloudJoinPrefix, c.Provider, len(c.Args))
}

// JoinEntriesToShow returns entries of retry_join without what may be secret.
func JoinEntriesToShow(entries []string) []string {
	shown := slices.Clone(entries)
	for i, e := range shown {
		if !IsCloudJoin(e) {
			continue
		}
		shown[i] = cloudJoinPrefix + hidden
		if c, err := ParseCloudJoin(e); err == nil {
			shown[i] = c.String()
		}
	}
	return shown
}

// checkJoins finds entries that ask a cloud in vain.
func (f *finisher) checkJoins(key string, entries []string) {
	for i, e := range entries {
		if !IsCloudJoin(e) {
			if strings.Contains(e, cloudJoinPrefix) {
				f.fault(key, "entry %d: one that asks a cloud begins with provider=", i+1)
			}
			continue
		}
		if _, err := ParseCloudJoin(e); err != nil {
			f.fault(key, "entry %d: %v", i+1, err)
		}
	}
}

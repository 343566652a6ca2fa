// Package version says which version this is: of the program itself, and of
// Consul's interfaces, by which tools decide what they may use.
//
// It promises that all who show a version show these. It compares none.
package version

import (
	"runtime/debug"
	"time"
)

// Consul is the version of Consul whose interfaces this program has. Tools
// compare it, such as Nomad by its constraint consul.version.
const Consul = "1.21.0"

// linked is the program's own version, from the tag of its source: the linker
// writes it (-X). A build that says nothing leaves it empty.
var linked string

// Release is the program's own version, without a v in front.
func Release() string {
	if linked == "" {
		return "0.0.0-dev"
	}
	return linked
}

// shortRevision is how many digits of a revision Build shows.
const shortRevision = 8

// Build is the version as members of the gossip pools show it: Consul, a colon
// and the start of the revision, or Consul alone where no revision is known.
func Build() string {
	if r := Revision(); r != "" {
		return Consul + ":" + r[:min(len(r), shortRevision)]
	}
	return Consul
}

// Revision is the commit that this program was built from, in hexadecimal;
// empty if it was not built from a repository.
func Revision() string { return setting("vcs.revision") }

// Date is the time of the commit that this program was built from; zero if it
// was not built from a repository.
func Date() time.Time {
	t, err := time.Parse(time.RFC3339, setting("vcs.time"))
	if err != nil {
		return time.Time{}
	}
	return t
}

func setting(key string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
	}
	return ""
}

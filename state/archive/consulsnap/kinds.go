package consulsnap

import (
	"fmt"
	"strconv"
)

// kind is a kind of records.
type kind struct {
	name string
	fate fate
	why  string
}

// The types of records that are taken over; type 0 is a node, a service or a
// check.
const (
	typeRegister    = 0
	typeKV          = 2
	typeSession     = 3
	typeCoordinates = 6
	typeQuery       = 7
	typeAutopilot   = 9
	typeConfigEntry = 22
)

// Names of kinds of records.
const (
	kindNodes    = "nodes"
	kindServices = "services"
	kindChecks   = "checks"
)

// Why a kind is left out.
const (
	whyMesh   = "there is no service mesh here"
	whyLegacy = "Consul has none of them since 1.11"
	whyTenant = "there are no namespaces and partitions here"
	whyPeer   = "there is no cluster peering here"
)

// kindOf says what a type of records is.
func kindOf(typ byte) kind {
	switch typ {
	case typeRegister:
		return kind{name: "catalog", fate: taken}
	case typeKV:
		return kind{name: "keys", fate: taken}
	case typeSession:
		return kind{name: "sessions", fate: taken}
	case 4:
		return kind{"ACL tokens of versions before 1.4", left, whyLegacy}
	case 5:
		return kind{"tombstones of keys", needless, "indexes go on above those of the snapshot"}
	case typeCoordinates:
		return kind{name: "coordinates", fate: taken}
	case typeQuery:
		return kind{name: "prepared queries", fate: taken}
	case typeAutopilot:
		return kind{name: "autopilot configuration", fate: taken}
	case 12:
		return kind{"intentions", left, whyMesh}
	case 13:
		return kind{"CA roots", left, whyMesh}
	case 14:
		return kind{"CA provider states", left, whyMesh}
	case 15:
		return kind{"CA configuration", left, whyMesh}
	case 16:
		return kind{"indexes of tables", needless, "indexes go on above those of the snapshot"}
	case typeToken:
		return kind{name: "ACL tokens", fate: taken}
	case typePolicy:
		return kind{name: "ACL policies", fate: taken}
	case typeConfigEntry:
		return kind{"config entries", left, whyMesh}
	case typeRole:
		return kind{name: "ACL roles", fate: taken}
	case typeBinding:
		return kind{name: "ACL binding rules", fate: taken}
	case typeMethod:
		return kind{name: "ACL auth methods", fate: taken}
	case 29:
		return kind{"parts of large writes", needless, "they were not finished"}
	case 30:
		return kind{"federation states", left, whyMesh}
	case 31:
		return kind{"system metadata", needless, "it says how Consul stores things"}
	case 32, 33:
		return kind{"virtual addresses", left, whyMesh}
	}
	return kind{fmt.Sprintf("records of the unknown type %d", typ), left, "this version does not know them"}
}

// nameOf is what people know a record by that is left out; empty if that is not
// known.
func nameOf(r *record) string {
	if r.body == nil {
		return ""
	}
	body, prefix := r.body, ""
	if r.typ == typeConfigEntry { // text: its kind, and a map with the entry
		var text []byte
		if decode(body, &text, nil) != nil {
			return ""
		}
		rest, err := decodeSome(text, &prefix, nil)
		if err != nil {
			return ""
		}
		body, prefix = rest, prefix+"/"
	}
	var n struct {
		Name, AccessorID, ID, Description, Key string
		Entry                                  struct{ Name string }
	}
	if decode(body, &n, nil) != nil {
		return ""
	}
	switch {
	case n.AccessorID != "" && n.Description != "":
		return n.AccessorID + " " + strconv.Quote(n.Description)
	case n.AccessorID != "":
		return n.AccessorID
	case n.Name != "":
		return n.Name
	case n.Entry.Name != "":
		return prefix + n.Entry.Name
	case openID(r.typ):
		return n.ID
	}
	return ""
}

// openID reports whether an ID is no secret in a record of the type. In one of an
// unknown type it may be one: that of a token was the token itself, before version
// 1.4 of Consul.
func openID(typ byte) bool { return typ == 12 || typ == 13 || typ == 14 || typ == 25 }

package status

import (
	"fmt"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o keyring_gen.go -file keyring.go
//msgp:limit arrays:4096 maps:256

// What may be asked of gossip keyrings.
const (
	KeysList    = "list"
	KeysInstall = "install"
	KeysUse     = "use"
	KeysRemove  = "remove"
)

// KeyringRequest asks for an action on the gossip keyrings of all members of pools.
type KeyringRequest struct {
	Action string `msg:"a"`
	Key    []byte `msg:"k,omitempty"` // of 16, 24 or 32 bytes; none for KeysList
	// Relay is through how many others each member sends its answer as well.
	Relay uint8 `msg:"r,omitempty"`
	// Local asks for the LAN pool of the datacenter alone, else the WAN pool and the
	// LAN pools of all datacenters are asked.
	Local bool `msg:"l"`
	// Force has a key used or removed although somebody would be shut out.
	Force bool `msg:"f,omitempty"`
}

// Keyring is what the members of one pool say of their keys, in the shape of Consul and
// with what is there beside. Keys are in base64.
type Keyring struct {
	WAN        bool   `msg:"w"`
	Datacenter string `msg:"dc"`
	Segment    string `msg:"s"`
	// Messages are for people: by member, or by datacenter if it has none.
	Messages map[string]string `msg:"m" json:",omitempty"`
	// Keys and PrimaryKeys count the members that accept a key, and that use it.
	Keys        map[string]int `msg:"k"`
	PrimaryKeys map[string]int `msg:"p"`
	// NumNodes is how many members there are that live.
	NumNodes int `msg:"n"`
	// Members are those that are not as the others are: that did not answer, did not
	// do what was asked, or have other keys. There may be More.
	Members []KeyringMember `msg:"e" json:",omitempty"`
	More    int             `msg:"mo" json:",omitempty"`
	// Error says why nothing is known of the pool; Denied is set if the token was refused
	// there.
	Error  string `msg:"er" json:",omitempty"`
	Denied bool   `msg:"dn,omitempty" json:",omitempty"`
}

// KeyringMember is one that is not as the others of its pool are.
type KeyringMember struct {
	Name     string `msg:"n"`
	Status   string `msg:"s"` // alive, failed, leaving
	Server   bool   `msg:"sv"`
	Answered bool   `msg:"a"`
	// Error says why it did not do what was asked.
	Error string `msg:"e" json:",omitempty"`
	// Lacks are keys that others have; Uses is the key in use if most use another.
	Lacks []string `msg:"l" json:",omitempty"`
	Uses  string   `msg:"u" json:",omitempty"`
}

// Keyrings are those of the pools that were asked, the WAN pool first.
type Keyrings struct {
	Keyrings []Keyring `msg:"k"`
}

// KeyringList asks the members of pools for their keys. A datacenter that cannot be
// asked is listed with an error.
var KeyringList = op.Direct[KeyringRequest, Keyrings]{Name: "keyring.list", Authorize: keyringRead}

// KeyringChange installs, uses or removes a gossip key. It is CodeInvalid for what is
// no key, and CodeConflict if a key is to be used that members do not have, or removed
// while not all are known to use another; Force does so all the same.
var KeyringChange = op.Direct[KeyringRequest, Keyrings]{Name: "keyring.change", Authorize: keyringWrite}

// KeyringWAN lists, installs, uses or removes keys of the WAN pool alone, once it has, or is
// to have, keys of its own. The server that has the question from nobody else answers: over
// the network, where client agents and gateways ask, it is CodeDenied for everybody.
var KeyringWAN = op.Direct[KeyringRequest, Keyrings]{Name: "keyring.wan", Authorize: keyringOfWAN}

func keyringOfWAN(a rules.Authorizer, r *KeyringRequest) error {
	if r.Action == KeysList {
		return keyringRead(a, r)
	}
	return keyringWrite(a, r)
}

// GatewayRequest names the node of a gateway.
type GatewayRequest struct {
	Node string `msg:"n"`
}

// Gateway says whether who asks may have a node be a gateway: CodeDenied if not. Servers ask
// it before they give a gateway its identity between datacenters.
var Gateway = op.Direct[GatewayRequest, op.Empty]{Name: "gateway.admit", Authorize: mayBeGateway}

func mayBeGateway(a rules.Authorizer, r *GatewayRequest) error {
	return rules.Require(a, rules.Node, rules.Write, r.Node)
}

func keyringRead(a rules.Authorizer, _ *KeyringRequest) error {
	return rules.Require(a, rules.Keyring, rules.Read, "")
}

func keyringWrite(a rules.Authorizer, _ *KeyringRequest) error {
	return rules.Require(a, rules.Keyring, rules.Write, "")
}

// Pool names the pool for people.
func (k *Keyring) Pool() string {
	if k.WAN {
		return "WAN pool"
	}
	return "LAN pool of " + k.Datacenter
}

// Faults says what was not done or is not known, for people, one text each: of
// members that live, and of datacenters that do not answer. Members that have failed
// are none: nobody expects them to answer.
func (k *Keyring) Faults() []string {
	var out []string
	if k.Error != "" {
		return append(out, k.Pool()+": "+k.Error)
	}
	for i := range k.Members {
		switch m := &k.Members[i]; {
		case m.Answered && m.Error != "":
			out = append(out, fmt.Sprintf("%s: %s: %s", k.Pool(), m.Name, m.Error))
		case !m.Answered && m.Status == "alive":
			out = append(out, fmt.Sprintf("%s: %s did not answer", k.Pool(), m.Name))
		}
	}
	return out
}

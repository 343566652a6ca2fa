package status

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o federation_gen.go -file federation.go
//msgp:limit arrays:4096 maps:64

// The states of another datacenter, as one server sees it.
const (
	Up          = "up"          // all of its servers that are known answer
	Degraded    = "degraded"    // it is asked, and something is wrong: see Reason
	Unreachable = "unreachable" // none of its servers answers
	Removed     = "removed"     // somebody removed it; its servers are refused
	Left        = "left"        // all of its servers left the federation, or this one did
)

// MaxGateways bounds the gateways of a datacenter that are listed.
const MaxGateways = 16

// FederationRequest asks how the federation is seen.
type FederationRequest struct {
	// Each asks the other datacenters for their own views as well.
	Each bool `msg:"e"`
	// Probes asks for what the server's own probes of the others show.
	Probes bool `msg:"p,omitempty"`
}

// Link is another datacenter as one server sees it. What belongs to
// connections is about the open ones.
type Link struct {
	Datacenter string `msg:"dc"`
	State      string `msg:"st"`
	// Reason says why the state is not up, for people.
	Reason string `msg:"re" json:",omitempty"`
	// RoundTripMS is the smallest smoothed round trip, in milliseconds; 0 while
	// there is no connection.
	RoundTripMS float64 `msg:"rtt"`
	// Loss is the share of packets lost lately, 0 to 1.
	Loss float64 `msg:"lo"`
	// Through are the datacenters whose servers carry what is said there, in order; none if it is
	// reached directly. ReachedFrom are those that say that they reach it, while this one does not.
	Through     []string `msg:"th,omitempty" json:",omitempty"`
	ReachedFrom []string `msg:"rf,omitempty" json:",omitempty"`
	// Gateways are those that its servers say they are reached through, host and port; none if
	// they are reached themselves. MaxGateways at most.
	Gateways []string `msg:"gw,omitempty" json:",omitempty"`
	// Carries says that a server of it carries what others say to each other.
	Carries bool `msg:"cy,omitempty" json:",omitempty"`
	// Servers are those in the WAN pool that have not left; Alive of them live
	// as gossip says, Answering as calls and probes say.
	Servers     int    `msg:"s"`
	Alive       int    `msg:"al"`
	Answering   int    `msg:"an"`
	Connections int    `msg:"co"`
	Streams     int    `msg:"str"`
	BytesSent   uint64 `msg:"bs"`
	BytesRead   uint64 `msg:"br"`
	PacketsSent uint64 `msg:"ps"`
	PacketsLost uint64 `msg:"pl"`
	// Calls and Blocked are in flight: those to be answered at once, and reads
	// that wait for something newer.
	Calls   int `msg:"ca"`
	Blocked int `msg:"bl"`
	// Breaker is closed, open or half-open.
	Breaker string `msg:"bk" json:",omitempty"`
	// ReadP95MS is the 95th percentile of the last reads, in milliseconds.
	ReadP95MS   float64   `msg:"p95"`
	LastContact time.Time `msg:"lc" json:",omitzero"`
	LastError   string    `msg:"le" json:",omitempty"`
	// Leader is the node that leads there, as the datacenter itself said; empty
	// if it was not asked, did not answer or has none.
	Leader string `msg:"ld"`
	// OtherHome is which datacenter it takes for the home of access control; empty if it is
	// the one that this view says, or that is not known.
	OtherHome string `msg:"oh,omitempty" json:",omitempty"`
	// Versions of its servers as gossip has them, each once.
	Versions []string `msg:"ve"`
	// Views kept of its results, and the age of the oldest in milliseconds.
	Views       int     `msg:"vw"`
	OldestAgeMS float64 `msg:"oa"`
	// RemovedBy and RemovedAt say who removed it and when.
	RemovedBy string    `msg:"rb" json:",omitempty"`
	RemovedAt time.Time `msg:"ra" json:",omitzero"`
}

// View is how one server sees the others' datacenters.
type View struct {
	Datacenter string `msg:"dc"`
	Server     string `msg:"s"` // node that answered; empty if none did
	Version    string `msg:"v"` // of its program
	Leader     string `msg:"l"` // node that leads there; empty if none does
	// Home is the datacenter that it takes for the home of access control; empty where
	// access is not controlled.
	Home string `msg:"hm,omitempty" json:",omitempty"`
	// Error says why the datacenter has not told its view.
	Error string `msg:"e" json:",omitempty"`
	// Gateways and Carries are as those of a Link, for the datacenter itself.
	Gateways []string `msg:"gw,omitempty" json:",omitempty"`
	Carries  bool     `msg:"cy,omitempty" json:",omitempty"`
	// Registrations are those with the gateways that Server is to be reached through; none if it
	// is reached itself.
	Registrations []Registration `msg:"rg,omitempty" json:",omitempty"`
	Links         []Link         `msg:"ln"`
	// Probes are the round trips to the servers of other datacenters as Server
	// measured them, by name; only if they were asked for.
	Probes []Probe `msg:"pr,omitempty" json:",omitempty"`
}

// Registration is what came of registering with a gateway that a server is to be reached through.
type Registration struct {
	Gateway string `msg:"g"`                             // host and port, as the server is to reach it
	Error   string `msg:"e,omitempty" json:",omitempty"` // why it carries nothing for the server, for people
	TCP     bool   `msg:"t,omitempty" json:",omitempty"` // UDP does not get through to it
}

// Probe is the median of the last probes of a server that it answered.
type Probe struct {
	Server      string  `msg:"s"` // node.datacenter
	RoundTripMS float64 `msg:"rtt"`
}

// Views are the views of datacenters, that of the one asked first.
type Views struct {
	Views []View `msg:"v"`
}

// Federation returns how this server sees the other datacenters and, if that is
// asked for, how each of them sees the others. One that does not answer within
// 2 s is listed with an error.
var Federation = op.Direct[FederationRequest, Views]{Name: "status.federation", Authorize: federationRead}

func federationRead(a rules.Authorizer, _ *FederationRequest) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}

// Named is a datacenter with its state.
type Named struct {
	Datacenter string `msg:"dc"`
	State      string `msg:"st"`
	Reason     string `msg:"re" json:",omitempty"`
}

// Membership asks that a datacenter be removed from the federation, or be allowed
// again.
type Membership struct {
	Datacenter string `msg:"dc"`
	Removed    bool   `msg:"rm"`
	// Force removes it although it answers.
	Force bool `msg:"f"`
}

// Changed says who knows of a change of membership.
type Changed struct {
	Told   int      `msg:"t"` // servers, the one asked included
	Missed []string `msg:"m"` // servers that did not answer, node.datacenter; they learn it later
}

// Change removes a datacenter from the federation or allows it again, on every
// server that can be reached; the others learn it when they can be. It is
// CodeInvalid for the datacenter that is asked, CodeNotFound for one that is
// unknown or was not removed, CodeConflict for one that answers, without Force.
var Change = op.Direct[Membership, Changed]{Name: "status.change", Authorize: operatorWrite}

func operatorWrite(a rules.Authorizer, _ *Membership) error {
	return rules.Require(a, rules.Operator, rules.Write, "")
}

// QuitRequest asks a server to leave the federation and stay in its datacenter.
type QuitRequest struct {
	// All has every server of its datacenter leave, the one asked last.
	All bool `msg:"a"`
}

// Quit has a server leave the federation. Changed counts the servers that did.
var Quit = op.Direct[QuitRequest, Changed]{Name: "status.quit", Authorize: mayQuit}

func mayQuit(a rules.Authorizer, _ *QuitRequest) error {
	return rules.Require(a, rules.Operator, rules.Write, "")
}

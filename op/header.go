package op

import "time"

//go:generate go tool msgp -tests=false -io=false -o header_gen.go -file header.go
//msgp:limit arrays:64 maps:64

// Consistency says how fresh an answer must be.
type Consistency uint8

// The consistency modes.
const (
	Default    Consistency = iota // the leader answers under its lease
	Consistent                    // the leader confirms with a quorum that it still leads
	Stale                         // any server answers
	Cached                        // what is kept of it and followed, however old: see Header.MaxAge
)

// String is the word that requests have for it.
func (c Consistency) String() string {
	switch c {
	case Consistent:
		return "consistent"
	case Stale:
		return "stale"
	case Cached:
		return "cached"
	}
	return "default"
}

// NearAddress in front of an IP address in Header.Near.
const NearAddress = "ip:"

// MaxHops is how often a call may be forwarded: to a server, to its leader, to a server
// of another datacenter, to the leader there, twice more to the home of what is global if
// that has moved, and one more while leadership moves.
const MaxHops = 7

// Header travels with a request and apart from it; forwarding reads only this.
type Header struct {
	// Datacenter that is asked; empty for that of the server that is asked. It may
	// be several: see IsFanOut.
	Datacenter string `msg:"dc,omitempty"`
	// Token is the caller's secret. Never logged.
	Token       string      `msg:"token,omitempty"`
	Consistency Consistency `msg:"cons,omitempty"`
	// MinIndex makes a read wait until its result is newer; 0 does not wait.
	MinIndex uint64 `msg:"min,omitempty"`
	// MaxWait is how long a read waits for MinIndex; the server applies its own
	// default and limit.
	MaxWait time.Duration `msg:"wait,omitempty"`
	// MaxStale with Stale: ask the leader when the server is further behind; 0
	// is no limit.
	MaxStale time.Duration `msg:"stale,omitempty"`
	// MaxAge with Cached: an answer that is not current may be this old; 0 is no
	// limit but that of the holder.
	MaxAge time.Duration `msg:"age,omitempty"`
	// MustCurrent with Cached refuses every answer that is not current.
	MustCurrent bool `msg:"cur,omitempty"`
	// Near names a node by whose distance lists are sorted, or with NearAddress
	// in front an IP address whose node is meant.
	Near string `msg:"near,omitempty"`
	// Forwarded marks a call sent on to the server that should lead: it carries it out or
	// refuses, and neither forwards nor waits for another leader.
	Forwarded bool `msg:"led,omitempty"`
	// Relayed marks a call of another datacenter that came from a server of the own
	// one which does not know that datacenter: it is not relayed again.
	Relayed bool `msg:"pass,omitempty"`
	// Filters is said by a server of another datacenter that follows a result: it controls
	// access, so that its callers see of it what their tokens may.
	Filters bool `msg:"filt,omitempty"`
	// FiltersBy is the home of the records by which it does: what is shown unfiltered is
	// shown to who has the same.
	FiltersBy string `msg:"home,omitempty"`
	// Hops counts the forwards so far, at most MaxHops.
	Hops uint8 `msg:"hops,omitempty"`
	// Timeout is what is left of the caller's deadline when the call was sent;
	// 0 if it has none. Clocks of two machines are not compared.
	Timeout time.Duration `msg:"left,omitempty"`
	// RefuseLong has a result that is longer than ShortBytes refused with CodeLong if
	// it can be had in parts, which the caller asks for then.
	RefuseLong bool `msg:"brief,omitempty"`
	// Trace is the trace that the call belongs to, as internal/tracing packs it. It is set
	// on the wire alone: in a process the context carries it.
	Trace string `msg:"trace,omitempty"`
}

// Meta travels back with a result.
type Meta struct {
	// Index of the result: the newest index among what was read, at least 1.
	// For a write, its own index.
	Index uint64 `msg:"idx,omitempty"`
	// LastContact is how long ago the answering server heard its leader; 0 on
	// the leader.
	LastContact time.Duration `msg:"lc,omitempty"`
	KnownLeader bool          `msg:"kl,omitempty"`
	// Datacenter that answered.
	Datacenter  string      `msg:"dc,omitempty"`
	Consistency Consistency `msg:"cons,omitempty"`
	// Age of an answer from a view; 0 if it is current.
	Age time.Duration `msg:"age,omitempty"`
	// Hit is set when the answer was there already: nobody had to be asked.
	Hit bool `msg:"hit,omitempty"`
	// Filtered is set when something was hidden from the caller.
	Filtered bool `msg:"filt,omitempty"`
	// Leader is set by a server that handed the call on: the node ID of its
	// leader, to ask at once next time.
	Leader string `msg:"lead,omitempty"`
	// Opaque is set when the index says no more than whether two results are the
	// same: see Newer.
	Opaque bool `msg:"opq,omitempty"`
	// Outcomes says of an answer of several datacenters what became of asking each,
	// at most MaxListed of them.
	Outcomes []Outcome `msg:"dcs,omitempty,limit=64"`
	// Through are the datacenters whose servers carried the call to another one, in order; none
	// if that is reached directly.
	Through []string `msg:"th,omitempty,limit=2"`
}

// Empty is the request or result of an operation that has none.
type Empty struct{}

// Text is a result that is one string.
type Text struct {
	Text string `msg:"t"`
}

// Texts is a result that is a list of strings.
type Texts struct {
	Texts []string `msg:"t,limit=1048576"`
}

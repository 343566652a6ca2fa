// Package explained is what is said of an answer of DNS and of how it came about: the question, and the
// shape of what is said. Package dns/explain finds it out, and httpapi/names shows it.
package explained

import (
	"net/netip"
	"strings"
)

// Question is what is to be explained.
type Question struct {
	Name string
	// Type of the records that are asked for, by its number.
	Type uint16
	// Token that lookups are made with, in place of that of DNS.
	Token string
	From  netip.Addr // who asks; not valid where that is not known
	// Sees says whether who asks may know which datacenters stand in for a service; nil: for none.
	Sees func(service string) bool
}

// SeesRules says whether who asks may know which datacenters stand in for a service.
func (q *Question) SeesRules(service string) bool {
	return q.Sees != nil && q.Sees(strings.ToLower(service))
}

// Explanation is an answer with how it came about.
type Explanation struct {
	Name, Type string
	// Code of the answer, as NOERROR; empty where recursors would be asked.
	Code string
	Read Read
	// Answer and Additional are all records, as over TCP.
	Answer, Additional []Record
	// Datacenters that answered, those whose instances come first before the others.
	Datacenters []string
	// Age in seconds is how old what was found is; 0 is current.
	Age float64
	// Truncated are the sizes of packets of UDP, in bytes, which have no room for all of it.
	Truncated []int
	Why       []string // sentences
	// Filtered says that something was left out that the token may not see.
	Filtered bool `json:"-"`
}

// Read is how a name was read.
type Read struct {
	// Kind is service, mesh, node, query, addr, reverse, domain, above, other, outside or unknown.
	Kind string
	// Of a service: its name, and the tag or the port that was asked for.
	Service, Tag, Port string `json:",omitempty"`
	Node, Query        string `json:",omitempty"`
	Address            string `json:",omitempty"` // that an addr name or a reverse one is of
	// Datacenter that the name says, or nearest, or all; empty for the agent's own.
	Datacenter string `json:",omitempty"`
	// Parts of the name, from left to right.
	Parts []Part
}

// Part is a part of a name, and what it says.
type Part struct{ Text, Means string }

// Record is one record of DNS.
type Record struct {
	Name, Type string
	TTL        uint32 // seconds
	Data       string
}

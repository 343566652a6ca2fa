package explain

import (
	"cmp"
	"strings"

	"github.com/legate-project/legate/dns"
	"github.com/legate-project/legate/dns/explained"
	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/op"
)

// readOf says how a name, in lower case and with a dot at its end, was read.
func (e *Explainer) readOf(name string, seen *dns.Seen) explained.Read {
	if seen.Domain == "" {
		return outside(name)
	}
	n := seen.Name
	domain := explained.Part{Text: strings.TrimSuffix(seen.Domain, "."), Means: "the domain that this agent answers for"}
	if seen.Rest == "" {
		return explained.Read{Kind: "domain", Parts: []explained.Part{domain}}
	}
	r := explained.Read{Kind: "unknown", Datacenter: n.DC}
	if n.Fault != names.NoFault {
		r.Parts = []explained.Part{{Text: seen.Rest, Means: "nothing that this agent knows"}, domain}
		return r
	}
	switch n.Kind {
	case names.Service:
		r.Kind, r.Service, r.Tag, r.Port = "service", n.Name, n.Tag, n.Port
	case names.Connect:
		r.Kind, r.Service = "mesh", n.Name
	case names.Node:
		r.Kind, r.Node = "node", n.Name
	case names.Query:
		r.Kind, r.Query = "query", n.Name
	case names.Addr:
		r.Kind = "addr"
		if a, ok := names.AddressOf(n.Name); ok {
			r.Address = a.String()
		}
	case names.Above:
		r.Kind = "above"
	default:
		r.Kind = "other"
	}
	r.Parts = append(e.parts(seen.Rest, n), domain)
	return r
}

// outside is a name that is in no domain of the agent.
func outside(name string) explained.Read {
	if a, kind := names.ReverseOf(name); kind == names.Whole {
		return explained.Read{Kind: "reverse", Address: a.String(), Parts: []explained.Part{{Text: strings.TrimSuffix(name, "."), Means: "the address " + a.String() + ", written backwards"}}}
	}
	return explained.Read{Kind: "outside", Parts: []explained.Part{{Text: cmp.Or(strings.TrimSuffix(name, "."), "."), Means: "a name outside of the domain of this agent"}}}
}

// parts names the parts of what precedes the domain, one by one.
func (e *Explainer) parts(rest string, n names.Name) []explained.Part {
	labels := strings.Split(rest, ".")
	at := n.Labels // how many name the thing
	out := thing(labels[:at], n)
	if at < len(labels) {
		if means, ok := kinds[labels[at]]; ok {
			out = append(out, explained.Part{Text: labels[at], Means: means})
			at++
		}
	}
	if at+1 < len(labels) && labels[at+1] == names.PortLabel && n.Port != "" {
		out = append(out, explained.Part{Text: labels[at], Means: "the name of a port"}, explained.Part{Text: names.PortLabel, Means: "before it stands the name of a port"})
		at += 2
	}
	for _, label := range labels[at:] {
		out = append(out, explained.Part{Text: label, Means: e.place(label, n.DC)})
	}
	return out
}

// kinds are the words that say what a name is of.
var kinds = map[string]string{
	"service": "the name is of a service", "node": "the name is of a node", "query": "the name is of a prepared query", "addr": "the name is an address",
	"connect": "the name is of a service behind proxies of a mesh", "virtual": "the name is of a virtual address", "ingress": "the name is of what gateways lead to",
}

// place says what a label behind the kind means.
func (e *Explainer) place(label, dc string) string {
	switch {
	case label != dc:
		return "before it stands a datacenter"
	case dc == op.Nearest:
		return "the nearest datacenter that has it"
	case dc == op.All:
		return "all datacenters, the nearest first"
	case strings.EqualFold(dc, e.Datacenter):
		return "the datacenter, which is this agent's own"
	}
	return "the datacenter"
}

// thing says what the labels before the kind mean.
func thing(labels []string, n names.Name) []explained.Part {
	joined := strings.Join(labels, ".")
	last := len(labels) - 1
	switch {
	case last < 0:
		return nil
	case n.Kind == names.Node:
		return []explained.Part{{Text: joined, Means: "the node"}}
	case n.Kind == names.Query && n.Name == joined:
		return []explained.Part{{Text: joined, Means: "the prepared query"}}
	case n.Kind == names.Query:
		return []explained.Part{{Text: labels[0], Means: "the prepared query"}, {Text: labels[1], Means: protocol}}
	case n.Kind == names.Addr:
		return []explained.Part{{Text: joined, Means: "the address, in hexadecimal digits"}}
	case n.Kind != names.Service:
		return []explained.Part{{Text: joined, Means: "the service"}}
	case labels[0] == "_"+n.Name && last == 1:
		means := tagOrPort
		if n.Tag == "" {
			means = protocol
		}
		return []explained.Part{{Text: labels[0], Means: "the service"}, {Text: labels[1], Means: means}}
	case n.Tag == "" && last == 2:
		return []explained.Part{{Text: labels[0], Means: "the name of a port"}, {Text: labels[1], Means: "before it stands the name of a port"}, {Text: labels[2], Means: "the service"}}
	case n.Tag != "":
		return []explained.Part{{Text: n.Tag, Means: tagOrPort}, {Text: labels[last], Means: "the service"}}
	}
	return []explained.Part{{Text: joined, Means: "the service"}}
}

const (
	protocol  = "the protocol: it plays no part"
	tagOrPort = "a tag, or the name of a port: instances that have it"
)

package op

import (
	"slices"
	"strings"
	"time"
)

//go:generate go tool msgp -tests=false -io=false -o fanout_gen.go -file fanout.go
//msgp:limit arrays:64 maps:64
//msgp:ignore Reach DatacenterResult Probe FanOut Freshness
//msgp:shim Freshness as:uint8 using:uint8/Freshness

// What Header.Datacenter may say instead of one name. No datacenter is called so.
const (
	// Nearest is the closest datacenter, the own one first, that has what is asked.
	Nearest = "nearest"
	// All is every datacenter, the nearest first.
	All = "all"

	listSeparator  = ","
	orderSeparator = ">"
	leftOutMark    = "!"
)

// MaxListed is how many datacenters a header may list.
const MaxListed = 64

// Reach is which datacenters a fan-out is for, as a header says it.
type Reach struct {
	// First asks for the first datacenter that has what is asked; else the results
	// of all are merged.
	First bool
	// Listed are the datacenters, in order.
	Listed []string
	// Others has all others follow those listed, the nearest first, but for those that are
	// left out.
	Others  bool
	LeftOut []string
}

// IsFanOut reports whether a header's datacenter is not the name of one, so that the
// call fans out: nearest, all, a list (dc2,dc3), or an order (dc2>dc3) of which the
// first that has what is asked answers; of an order some can be left out (dc2>!dc3>nearest).
func IsFanOut(dc string) bool {
	return dc == Nearest || dc == All || strings.Contains(dc, listSeparator) || strings.Contains(dc, orderSeparator)
}

// ParseReach reads what IsFanOut reports true for.
func ParseReach(dc string) (Reach, error) {
	switch {
	case dc == Nearest:
		return Reach{First: true, Others: true}, nil
	case dc == All:
		return Reach{Others: true}, nil
	}
	r := Reach{}
	separator := listSeparator
	if strings.Contains(dc, orderSeparator) {
		separator, r.First = orderSeparator, true
	}
	for _, name := range strings.Split(dc, separator) {
		name = strings.TrimSpace(name)
		switch {
		case r.Others || name == All || name == Nearest && !r.First:
			return r, Errorf(CodeInvalid, "%q: in a list of datacenters only the last one of an order may be a word, and that is %s", dc, Nearest)
		case name == Nearest:
			r.Others = true
		case name == "" || IsFanOut(name) || name == leftOutMark:
			return r, Errorf(CodeInvalid, "%q: a list of datacenters is dc2,dc3 or, for the first of them that has what is asked, dc2>dc3", dc)
		case len(r.Listed)+len(r.LeftOut) == MaxListed:
			return r, Errorf(CodeInvalid, "a list of datacenters has at most %d", MaxListed)
		case r.First && strings.HasPrefix(name, leftOutMark):
			r.LeftOut = append(r.LeftOut, name[len(leftOutMark):])
		case !slices.Contains(r.Listed, name):
			r.Listed = append(r.Listed, name)
		}
	}
	return r, nil
}

// FirstOf is the first name of an order.
func FirstOf(order string) string {
	first, _, _ := strings.Cut(order, orderSeparator)
	return first
}

// LeaveOut is an order without a datacenter, neither by its name nor as one of the nearest;
// empty where it is left out already, or nobody else is left.
func LeaveOut(order, dc string) string {
	var kept []string
	asks := 0
	for _, name := range strings.Split(order, orderSeparator) {
		switch {
		case name == leftOutMark+dc:
			return ""
		case name == dc:
			continue
		case name == Nearest:
			kept = append(kept, leftOutMark+dc)
		}
		if !strings.HasPrefix(name, leftOutMark) {
			asks++
		}
		kept = append(kept, name)
	}
	if asks == 0 {
		return ""
	}
	return strings.Join(kept, orderSeparator)
}

// FailoverOrder is the header's datacenter for the first of the names, the last of which
// may be Nearest, that has what is asked.
func FailoverOrder(names []string) string { return strings.Join(names, orderSeparator) }

// Freshness is how a datacenter took part in an answer.
type Freshness uint8

// How a datacenter took part.
const (
	Fresh       Freshness = iota // it answered, or pushes what it would answer
	Aged                         // it cannot be reached: what was last known counts
	Unreachable                  // it cannot be reached and nothing is known of it
)

// String is the word for it in headers.
func (f Freshness) String() string {
	switch f {
	case Fresh:
		return "ok"
	case Aged:
		return "stale"
	}
	return "unreachable"
}

// Outcome is what became of asking one of several datacenters.
type Outcome struct {
	Datacenter string        `msg:"dc"`
	State      Freshness     `msg:"s,omitempty"`
	Age        time.Duration `msg:"age,omitempty"` // of what is Aged
}

// AnyUnreachable reports whether a datacenter that was to be asked could not, and nothing
// is known of what it would say.
func (m *Meta) AnyUnreachable() bool {
	return slices.ContainsFunc(m.Outcomes, func(o Outcome) bool { return o.State == Unreachable })
}

// OpaqueFrom is the lowest opaque index; all are less than twice as much, which every
// client can hold (2^53 is the bound of JavaScript). No log grows so long.
const OpaqueFrom = 1 << 51

// Newer reports whether a result is another one than the caller has, who gives
// its index.
func (m *Meta) Newer(than uint64) bool {
	if m.Opaque {
		return m.Index != than
	}
	return m.Index > than
}

// DatacenterResult is the result of one datacenter among several; nil stands for none.
type DatacenterResult[Res any] struct {
	Datacenter string
	Result     *Res
}

// Probe is the read by which a datacenter shows that it has what is asked.
type Probe struct {
	// Service is what its directory is asked about; empty where that does not know, so that each
	// datacenter is asked itself.
	Service string
	// Operation is nil for the read itself.
	Operation Queryable
	Request   any
	// Has judges the result.
	Has func(result any) bool
}

// FanOut says how a read is answered for several datacenters at once: how what they
// answer is gathered, and of which it is asked.
type FanOut[Req, Res any] struct {
	// Merge makes one result of several, in their order. Each item names its
	// datacenter where it can. It changes none of the results that it is given.
	Merge func(parts []DatacenterResult[Res]) *Res
	// Probe makes of a request what decides which datacenter has what is asked. Nil
	// where the request is about no service: the nearest datacenter is the own one.
	Probe func(*Req) Probe
	// Anywhere has Nearest look in all datacenters, for reads that are about one
	// thing that is somewhere.
	Anywhere bool
	// MaxRemote bounds how many of the other datacenters are asked, the nearest of those
	// whose directory has what the probe is about; 0 for all.
	MaxRemote int
}

// FanOutable is an operation that can be asked of several datacenters at once.
type FanOutable interface {
	Queryable
	// FansOut reports whether it can; the rest is only called if so.
	FansOut() bool
	Anywhere() bool
	MaxRemote() int
	Probe(request any) (p Probe, ok bool)
	Merged(datacenters []string, results []any) any
}

// FansOut implements FanOutable.
func (o *Read[Req, Res]) FansOut() bool { return o.FanOut != nil }

// Anywhere implements FanOutable.
func (o *Read[Req, Res]) Anywhere() bool { return o.FanOut.Anywhere }

// MaxRemote implements FanOutable.
func (o *Read[Req, Res]) MaxRemote() int { return o.FanOut.MaxRemote }

// Probe implements FanOutable.
func (o *Read[Req, Res]) Probe(request any) (Probe, bool) {
	if o.FanOut.Probe == nil {
		return Probe{}, false
	}
	p := o.FanOut.Probe(request.(*Req))
	if p.Operation == nil {
		p.Operation = o
	}
	return p, true
}

// Merged implements FanOutable.
func (o *Read[Req, Res]) Merged(datacenters []string, results []any) any {
	parts := make([]DatacenterResult[Res], len(results))
	for i := range results {
		res, _ := results[i].(*Res)
		parts[i] = DatacenterResult[Res]{datacenters[i], res}
	}
	if merged := o.FanOut.Merge(parts); merged != nil {
		return merged
	}
	return nil
}

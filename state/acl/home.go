package acl

import (
	"crypto/subtle"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o home_gen.go -file home.go
//msgp:limit arrays:64 maps:16

// Home is what a datacenter's state says of where what is global is written: it
// decides, for each write, in the order of the log. Nothing of it is the same as: here,
// since ever.
type Home struct {
	// Version orders who was home when; 0 is the first one, who is configured.
	Version int64 `msg:"v"`
	// Away is set where another datacenter is the home: what is global is only copied.
	Away       bool   `msg:"a,omitempty"`
	Datacenter string `msg:"dc"` // the home
	By         string `msg:"by,omitempty"`
	// Since is what was known of the home's membership when it became that: see
	// removal.Record. 0 from earlier versions.
	Since int64 `msg:"s,omitempty"`
	// Index of the home up to which there are copies of everything; 0 in the home.
	Index uint64 `msg:"i,omitempty"`
	// Own is set from when this datacenter was a home, rightly or by mistake, until the
	// copies of the one that is have taken the place of what was written here.
	Own bool `msg:"o,omitempty"`
	// Ticket shows the datacenter that the role was given to that this one asks.
	Ticket string `msg:"t,omitempty"`
	// Wanted is the version that this datacenter is about to become the home by; 0 for
	// none. WantedTicket belongs to it.
	Wanted       int64  `msg:"w,omitempty"`
	WantedTicket string `msg:"wt,omitempty"`
}

// Step is a step on the way of the role from one datacenter to another.
type Step uint8

// The steps. None takes effect against a newer version.
const (
	// StepNote takes note that another datacenter is the home.
	StepNote Step = 1
	// StepWant begins to take the role over, with a ticket.
	StepWant Step = 2
	// StepYield gives the role away: from then on nothing global is written here.
	StepYield Step = 3
	// StepAssume takes the role over that was wanted, unless that was given up.
	StepAssume Step = 4
	// StepClaim takes the role over, whoever had it.
	StepClaim Step = 5
	// StepGiveUp gives up taking the role over.
	StepGiveUp Step = 6
	// StepReturn takes back what does not count: what was made of a datacenter that was
	// removed from the federation. It alone leads to an older version.
	StepReturn Step = 7
)

// StepRequest is one step.
type StepRequest struct {
	Step       Step   `msg:"s"`
	Version    int64  `msg:"v"`
	Datacenter string `msg:"dc"` // who is home after it
	By         string `msg:"by,omitempty"`
	Ticket     string `msg:"t,omitempty"`
	Since      int64  `msg:"si,omitempty"` // see Home
	// Instead with StepReturn is the version that does not count, and Away whether the home
	// is another datacenter.
	Instead int64 `msg:"in,omitempty"`
	Away    bool  `msg:"a,omitempty"`
}

// StepResult is what the state says after a step.
type StepResult struct {
	Home  Home   `msg:"h"`
	Index uint64 `msg:"i"` // of the step itself
}

// TakeStep writes a step.
var TakeStep = op.Internal[StepRequest, StepResult]{Name: "acl.home-step"}

var homes = storage.NewTable[Home](18, "acl-home")

// FindHome returns what the state says; never nil without an error.
func FindHome(r storage.Reader) (*Home, error) {
	h, err := homes.Get(r, nil)
	if h == nil {
		h = &Home{}
	}
	return h, err
}

// writable refuses the write of what is global where it is only copied.
func writable(r storage.Reader) error {
	h, err := FindHome(r)
	if err != nil || !h.Away {
		return err
	}
	return Moved(h.Datacenter)
}

// Moved is the answer to a write of what is global where a datacenter has given the role
// of the home to another one, and to who follows it there.
func Moved(to string) *op.Error {
	return op.Errorf(op.CodeMoved, "policies, roles, auth methods, binding rules and global tokens are not written in this datacenter any more: their home is, or is about to be, %s. Try again; legate federation primary shows who is home", to)
}

// ApplyStep takes the step, or says why it cannot be.
func ApplyStep(tx *storage.Txn, r *StepRequest) (*StepResult, error) {
	h, err := FindHome(tx)
	if err != nil {
		return nil, err
	}
	if r.Step != StepWant && r.Step != StepGiveUp && r.Step != StepReturn && r.Version < h.Version {
		return nil, op.Errorf(op.CodeConflict, "a newer move of the home was made meanwhile: %s is it, or is about to be", h.Datacenter)
	}
	switch r.Step {
	case StepNote:
		if !h.Away || h.Version != r.Version || h.Datacenter != r.Datacenter {
			h.Index = 0
		}
		h.Own = h.Own || !h.Away
		h.Away, h.Datacenter, h.Version, h.By, h.Since, h.Ticket = true, r.Datacenter, r.Version, r.By, r.Since, ""
		if h.Wanted <= r.Version {
			h.Wanted, h.WantedTicket = 0, ""
		}
	case StepWant:
		if !h.Away || r.Version <= h.Version {
			return nil, op.Errorf(op.CodeConflict, "this datacenter is the home already, or a newer move was made")
		}
		h.Wanted, h.WantedTicket = r.Version, r.Ticket
	case StepYield:
		if h.Away {
			return nil, Moved(h.Datacenter)
		}
		h.Away, h.Datacenter, h.Version, h.By, h.Since, h.Ticket, h.Index = true, r.Datacenter, r.Version, r.By, r.Since, r.Ticket, 0
	case StepAssume, StepClaim:
		if r.Step == StepAssume && (h.Wanted != r.Version || r.Version == 0) {
			return nil, op.Errorf(op.CodeConflict, "the move was given up")
		}
		*h = Home{Version: r.Version, Datacenter: r.Datacenter, By: r.By, Since: r.Since}
	case StepReturn:
		if h.Version != r.Instead {
			return nil, op.Errorf(op.CodeConflict, "another move of the home was made meanwhile")
		}
		*h = Home{Version: r.Version, Away: r.Away, Datacenter: r.Datacenter, By: r.By, Since: r.Since, Own: r.Away && (h.Own || !h.Away)}
	case StepGiveUp:
		if h.Wanted == r.Version {
			h.Wanted, h.WantedTicket = 0, ""
		}
	default:
		return nil, op.Errorf(op.CodeUnsupported, "unknown step %d", r.Step)
	}
	return &StepResult{Home: *h, Index: tx.Index()}, homes.Put(tx, nil, h)
}

// Wants reports whether this datacenter is about to become the home by a version, and
// whether the ticket is the one that it gave for that.
func (h *Home) Wants(version int64, ticket string) (wants, shown bool) {
	wants = h.Wanted == version && version != 0
	return wants, wants && subtle.ConstantTimeCompare([]byte(h.WantedTicket), []byte(ticket)) == 1
}

// MoveRequest asks a datacenter to become the home.
type MoveRequest struct {
	// Force does so without the home that is, which must not answer any more.
	Force bool `msg:"f,omitempty"`
}

// Moving says who knows of a move.
type Moving struct {
	Home   string   `msg:"h"`
	From   string   `msg:"f"`
	Told   int      `msg:"t"` // servers, the one that answers included
	Missed []string `msg:"m,omitempty,limit=4096"`
}

// MoveHome makes the datacenter that is asked the home. CodeConflict if it cannot be,
// and then the home stays, or takes the role back, where it was.
var MoveHome = op.Direct[MoveRequest, Moving]{Name: "acl.home-move", Authorize: mayMove[MoveRequest]}

// YieldRequest asks the home to give its role to another datacenter.
type YieldRequest struct {
	Version int64  `msg:"v"`
	To      string `msg:"to"`
	By      string `msg:"by"`
	// Ticket is what the home shows to ask what became of it. Never logged.
	Ticket string `msg:"t"`
}

// Yielded says what the home had then.
type Yielded struct {
	Index uint64 `msg:"i"` // up to which everything is to be copied
	Sum   uint64 `msg:"s"` // checksum of everything then
}

// YieldHome has the home give its role away.
var YieldHome = op.Direct[YieldRequest, Yielded]{Name: "acl.home-yield", Authorize: mayMove[YieldRequest]}

// SettleRequest asks what became of a move.
type SettleRequest struct {
	Version int64  `msg:"v"`
	Ticket  string `msg:"t"`
}

// Settled says what became of a move; neither while it goes on.
type Settled struct {
	Assumed bool `msg:"a,omitempty"` // it is the home
	GivenUp bool `msg:"g,omitempty"` // it is not, and will not be by this version
}

// SettleHome asks the datacenter that the role was given to what became of that. Who asks
// shows a ticket.
var SettleHome = op.Direct[SettleRequest, Settled]{Name: "acl.home-settle", Authorize: anybody[SettleRequest]}

// Standing says how a datacenter's copies stand.
type Standing struct {
	Datacenter string `msg:"dc"`
	// Home is which one it takes for the home; "" if it does not say.
	Home string `msg:"hm,omitempty" json:",omitempty"`
	Replication
	// Error says why it is not known how they stand.
	Error string `msg:"e" json:",omitempty"`
}

// Standings say who is home and how all stand.
type Standings struct {
	Home    string `msg:"h"`
	Version int64  `msg:"v"` // 0 while it is the one that is configured
	By      string `msg:"by" json:",omitempty"`
	// Moving is the datacenter that the role is being given to.
	Moving      string     `msg:"mo,omitempty" json:",omitempty"`
	Datacenters []Standing `msg:"d,limit=4096"`
}

// ShowHome says who is home and how the copies stand.
var ShowHome = op.Direct[op.Empty, Standings]{Name: "acl.home", Authorize: func(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}}

func mayMove[Req any](a rules.Authorizer, _ *Req) error {
	if err := rules.Require(a, rules.Operator, rules.Write, ""); err != nil {
		return err
	}
	return rules.Require(a, rules.ACL, rules.Write, "")
}

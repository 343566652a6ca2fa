package status

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o clock_gen.go -file clock.go
//msgp:limit arrays:4096 maps:64

// ClockRequest asks a server what its clock shows.
type ClockRequest struct {
	// Each has it compare its clock with those of others: of the servers of its
	// datacenter, and of one server of each other datacenter.
	Each bool `msg:"e"`
}

// Clocks is what a server's clock showed, and those of others beside it.
type Clocks struct {
	Server     string    `msg:"n"` // node that answered
	Datacenter string    `msg:"dc"`
	Received   time.Time `msg:"r"` // when the question came
	Sent       time.Time `msg:"s"` // when the answer went
	Others     []Clock   `msg:"o"`
}

// Clock is one clock beside another.
type Clock struct {
	Server     string `msg:"n"`
	Datacenter string `msg:"dc"`
	// OffsetMS is by how many milliseconds it is ahead of the other, give or take
	// WithinMS: half of the time that question and answer were on their way.
	OffsetMS float64 `msg:"of"`
	WithinMS float64 `msg:"wi"`
	// Error says why nothing is known.
	Error string `msg:"e" json:",omitempty"`
}

// Beside compares the clock with that of who asked: when he sent the question, and when
// the answer came. RFC 5905 has the formula (section 8).
func (c *Clocks) Beside(asked, answered time.Time) Clock {
	ahead, behind := c.Received.Sub(asked), answered.Sub(c.Sent)
	return Clock{Server: c.Server, Datacenter: c.Datacenter,
		OffsetMS: (ms(ahead) - ms(behind)) / 2, WithinMS: max(0, (ms(ahead)+ms(behind))/2)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// CompareClocks returns what the clock of the server that is asked shows and, if that is
// asked for, how those of others stand beside it. One that does not answer within 2 s
// is listed with an error.
var CompareClocks = op.Direct[ClockRequest, Clocks]{Name: "status.clock", Authorize: mayCompare}

// mayCompare lets everybody know what time it is, and operators how others are.
func mayCompare(a rules.Authorizer, r *ClockRequest) error {
	if !r.Each {
		return nil
	}
	return rules.Require(a, rules.Operator, rules.Read, "")
}

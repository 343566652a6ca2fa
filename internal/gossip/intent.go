package gossip

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// A member that said that it leaves, or of which that was said, is leaving until
// memberlist sees it gone, or until it says something newer. Serf has two ways to
// keep one for leaving that does not leave. Who starts or comes back learns first
// from others, at a time that moves on with each exchange of states, that a member
// left, and then meets it alive. And the word of a member that came back is spread
// a bounded number of times, so it can be lost. Exchanges of states mend neither:
// they hand on the newest time, not that the member does not leave, and who is named
// only denies that it has left. So members that stay for longer than a goodbye
// takes are asked: each answers to all that it is there, unless it does leave.
const (
	// askEvery is how often leaving members are looked for, askLocal on one
	// machine; the second time that one is found it is asked.
	askEvery = 3 * time.Second
	askLocal = 500 * time.Millisecond
	// asksAtOnce bounds how many are asked in a turn.
	asksAtOnce = 64
	// mostAhead bounds by how much the time of a question is ahead of this
	// member's clock, as a power of two: one who knows of a newer time than
	// the question's does not answer.
	mostAhead = 16
)

// leaveMessage is the type of serf's message of this form, its first byte.
const leaveMessage = 0

// leaveIntent says that a member leaves. Who does not, and is asked with it,
// denies it to all with a newer time.
type leaveIntent struct {
	LTime uint64
	Node  string
	Prune bool
}

// asked is how often members were found leaving, by name.
type asked map[string]int

// askLeaving asks members that are leaving for too long whether they do.
func (p *Pool) askLeaving(ctx context.Context) {
	every := askEvery
	if p.cfg.Profile == Local {
		every = askLocal
	}
	t := time.NewTicker(every)
	defer t.Stop()
	found := asked{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			found = p.ask(found)
		}
	}
}

// ask looks for leaving members and asks those that were found before. Serf has
// no event for one that is alive after all: the reader gets an Update.
func (p *Pool) ask(before asked) asked {
	found := asked{}
	stay := Event{Kind: Update, At: time.Now()}
	left := asksAtOnce
	for _, m := range p.serf.Members() { // in random order
		times := before[m.Name]
		switch {
		case m.Name == p.cfg.NodeName:
		case m.Status == serf.StatusLeaving:
			found[m.Name] = times + 1
			if times == 0 || left == 0 {
				continue
			}
			left--
			if err := p.askOne(memberOf(m), times-1); err != nil { // it is asked again
				p.log.Debug("ask a member whether it leaves", "pool", p.cfg.Pool, "member", m.Name, "error", err)
			}
		case m.Status == serf.StatusAlive && times > 0:
			stay.Members = append(stay.Members, memberOf(m))
		}
	}
	if len(stay.Members) > 0 {
		p.metrics.event(stay.Kind)
		p.hand(stay)
	}
	return found
}

func (p *Pool) askOne(m Member, ahead int) error {
	question, err := p.question(m.Name, ahead)
	if err != nil {
		return err
	}
	return p.serf.Memberlist().SendToAddress(memberlist.Address{Addr: m.HostPort(), Name: m.Name}, question)
}

func (p *Pool) question(of string, ahead int) ([]byte, error) {
	now, err := strconv.ParseUint(p.serf.Stats()["member_time"], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read the clock of the pool: %w", err)
	}
	q := leaveIntent{LTime: now + 1<<min(ahead, mostAhead), Node: of}
	b := []byte{leaveMessage}
	var body []byte
	err = codec.NewEncoderBytes(&body, &codec.MsgpackHandle{}).Encode(&q)
	return append(b, body...), err
}

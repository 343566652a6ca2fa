package fanout

import (
	"time"

	"github.com/legate-project/legate/op"
)

// draft is a decision that is being made.
type draft struct {
	*asking
	d       *decision
	at      time.Time
	print   fingerprint
	refused error // of a datacenter that could not be asked
	told    int   // datacenters that said something, or of which something is known
	waiting int   // of which an answer may still come
}

// decide returns the answer from what the datacenters have said, nil if it is
// worth to wait for more; unready then says how long at most.
func (a *asking) decide() (*decision, error) {
	a.round++
	a.unready = 0
	t := &draft{asking: a, at: time.Now(), d: &decision{o: a.o}}
	t.d.meta = op.Meta{Opaque: true, KnownLeader: true, Consistency: a.call.Header.Consistency}
	a.mu.Lock()
	defer a.mu.Unlock()
	order := a.caller.order(&a.reach)
	ready := false
	if a.reach.First && !a.o.Anywhere() {
		ready = t.first(order)
	} else {
		ready = t.all(order)
	}
	if !ready {
		return nil, nil
	}
	for key, p := range a.parts {
		if p.round != a.round {
			delete(a.parts, key)
			if p.end != nil {
				p.end()
			}
		}
	}
	if t.told == 0 {
		reach := reachAll
		if a.reach.First {
			reach = reachFirst
		}
		a.caller.metrics.answered(reach, resultFailed).Inc()
		return nil, t.unreachable()
	}
	t.d.meta.Index = t.print.index()
	return t.d, nil
}

// unreachable is the error when nothing is known.
func (t *draft) unreachable() error {
	switch op.CodeOf(t.refused) {
	case op.CodeUnknownDatacenter, op.CodeRemovedDatacenter, op.CodeLeftDatacenter:
		if t.waiting == 0 { // of all that were asked
			return t.refused
		}
	case op.CodeStopping, op.CodeBusy, op.CodeInvalid, op.CodeTooLarge:
		return t.refused
	}
	return &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: t.call.Header.Datacenter}
}

// outcome notes how a datacenter took part.
func (t *draft) outcome(dc string, s op.Freshness, age time.Duration) {
	if s == op.Fresh && age > 0 {
		s = op.Aged
	}
	if s != op.Unreachable {
		t.told++
	}
	if len(t.d.meta.Outcomes) < op.MaxListed {
		t.d.meta.Outcomes = append(t.d.meta.Outcomes, op.Outcome{Datacenter: dc, State: s, Age: age})
	}
}

// refuse notes that a datacenter could not be asked. That it is unknown counts least
// among the reasons.
func (t *draft) refuse(dc string, p *part) {
	if t.refused == nil || op.CodeOf(t.refused) == op.CodeUnknownDatacenter {
		t.refused = p.err
	}
	t.outcome(dc, op.Unreachable, 0)
}

// all merges what the datacenters have.
func (t *draft) all(order []string) (ready bool) {
	left := t.o.MaxRemote()
	if left == 0 {
		left = len(order)
	}
	for _, dc := range order {
		if t.listed && dc != t.caller.cfg.Datacenter {
			if e := t.caller.directory.Lookup(dc, t.probe.Service); e.Known && e.Total == 0 {
				t.outcome(dc, op.Fresh, e.Age)
				continue
			}
		}
		if dc != t.caller.cfg.Datacenter {
			if left == 0 {
				continue
			}
			left--
		}
		p := t.want(dc, t.o, t.request)
		switch p.state() {
		case answered:
			t.outcome(dc, op.Fresh, p.age(t.at))
			t.include(dc, p)
		case failed:
			t.refuse(dc, p)
		default:
			t.waiting++
			t.outcome(dc, op.Unreachable, 0)
		}
	}
	t.d.answered = t.caller.metrics.answered(reachAll, resultSeveral)
	return !t.patient()
}

// patient reports whether it is worth to wait for those who have not said anything.
func (t *draft) patient() bool {
	if t.waiting == 0 {
		return false
	}
	limit := lastDeadline
	if t.told > 0 {
		limit = partDeadline
	}
	left := limit - t.at.Sub(t.began)
	if left <= 0 {
		return false
	}
	t.unready = left
	return true
}

// include makes a part's result a part of the answer.
func (t *draft) include(dc string, p *part) {
	m := &t.d.meta
	result, err := p.reply.Result(t.o)
	if err != nil {
		t.caller.log.Warn("result cannot be read", "operation", t.o.OpName(), "peer_datacenter", dc, "error", err)
		return
	}
	t.d.datacenters, t.d.results = append(t.d.datacenters, dc), append(t.d.results, result)
	t.print.add(dc, p.reply.Meta.Index)
	m.Age = max(m.Age, p.age(t.at))
	if dc != t.caller.cfg.Datacenter {
		m.Consistency = op.Stale
	}
	m.LastContact = max(m.LastContact, p.meta.LastContact)
	m.KnownLeader = m.KnownLeader && p.meta.KnownLeader
	m.Filtered = m.Filtered || p.reply.Meta.Filtered
}

// verdict on a candidate.
type verdict uint8

const (
	no     verdict = iota
	chosen         // it has what is asked, and its result is there
	later          // it would do, but is not current
	soon           // it has not said yet
)

// first takes the result of the first datacenter in order that has what is asked.
// Those that are current come before those that are not; the own one stays where
// it is.
func (t *draft) first(order []string) (ready bool) {
	var aged []string
	for _, dc := range order {
		switch t.judge(dc, false) {
		case chosen:
			return true
		case later:
			aged = append(aged, dc)
		case soon:
			if t.unready > 0 { // too early to ask the next
				return false
			}
		}
	}
	for _, dc := range aged {
		switch t.judge(dc, true) {
		case chosen:
			return true
		case soon:
			if t.unready > 0 {
				return false
			}
		}
	}
	if t.patient() {
		return false
	}
	return t.nobody(order)
}

// judge says whether a datacenter answers; if so, it does.
func (t *draft) judge(dc string, agedToo bool) verdict {
	own := dc == t.caller.cfg.Datacenter
	if !own && t.listed {
		switch e := t.caller.directory.Lookup(dc, t.probe.Service); {
		case e.Known && e.Passing+e.Warning == 0:
			t.outcome(dc, op.Fresh, e.Age)
			return no
		case e.Age > 0 && !agedToo:
			return later
		}
	}
	p := t.want(dc, t.probe.Operation, t.probe.Request)
	if v := t.said(dc, p); v != chosen {
		return v
	}
	found, err := p.reply.Result(t.probe.Operation)
	age := p.age(t.at)
	switch {
	case err != nil || !t.probe.Has(found):
		t.outcome(dc, op.Fresh, age)
		return no
	case age > 0 && !own && !agedToo:
		return later
	}
	whole := t.want(dc, t.o, t.request)
	switch {
	case t.probe.Operation.OpName() == t.o.OpName() && (whole.state() == failed || whole.state() == pending && t.at.Sub(whole.began) >= whole.patience):
		whole = p // what is healthy is known, if not the rest
	default:
		if v := t.said(dc, whole); v != chosen {
			return v
		}
	}
	t.outcome(dc, op.Fresh, whole.age(t.at))
	t.answer(dc, whole)
	return chosen
}

// said judges whether a part is there.
func (t *draft) said(dc string, p *part) verdict {
	switch p.state() {
	case answered:
		return chosen
	case failed:
		t.refuse(dc, p)
		return no
	}
	t.waiting++
	t.unready = max(p.patience-t.at.Sub(p.began), 0)
	if t.unready == 0 {
		t.outcome(dc, op.Unreachable, 0)
	}
	return soon
}

// answer has one datacenter answer.
func (t *draft) answer(dc string, p *part) {
	t.include(dc, p)
	t.d.dc, t.d.meta.Datacenter = dc, dc
	result := resultOther
	switch {
	case dc == t.caller.cfg.Datacenter:
		result = resultLocal
	case t.d.meta.Age > 0:
		result = resultAged
	}
	t.d.answered = t.caller.metrics.answered(reachFirst, result)
}

// nobody answers where no datacenter has what is asked: with what the own one has
// all the same, if that was asked.
func (t *draft) nobody(order []string) (ready bool) {
	for _, dc := range order {
		if dc != t.caller.cfg.Datacenter {
			continue
		}
		p := t.want(dc, t.o, t.request)
		if p.state() == pending && t.at.Sub(t.began) < lastDeadline {
			t.unready = lastDeadline - t.at.Sub(t.began)
			return false
		}
		if p.state() == answered {
			t.include(dc, p)
			t.d.dc, t.d.meta.Datacenter = dc, dc
		}
	}
	t.d.answered = t.caller.metrics.answered(reachFirst, resultNone)
	return true
}

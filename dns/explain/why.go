package explain

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns"
	"github.com/legate-project/legate/dns/explained"
	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/internal/byname"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// moreTime is how long may be looked for what is not in an answer.
const moreTime = 2 * time.Second

// why collects the sentences that say how an answer came about.
type why struct {
	e    *Explainer
	t    *trail
	seen *dns.Seen
	out  *explained.Explanation
	// rules says that who asks may know which datacenters stand in for the service.
	rules bool
}

func (w *why) say(format string, args ...any) {
	w.out.Why = append(w.out.Why, fmt.Sprintf(format, args...))
}

func (w *why) all(ctx context.Context) {
	w.out.Why = []string{}
	w.name()
	w.failure()
	if w.out.Read.Service != "" {
		w.service(ctx)
	} else {
		w.other()
	}
	w.age()
	w.answer()
}

// name says what is to be said of the name alone.
func (w *why) name() {
	n, word := w.seen.Name, w.seen.Rest
	domain := strings.TrimSuffix(w.seen.Domain, ".")
	switch {
	case w.out.Read.Kind == "outside" && w.seen.Recurses:
		w.say("The name is not below the domain of this agent: its recursors are asked for such names. This is not done here, so that nobody has it ask for what he likes.")
	case w.out.Read.Kind == "outside":
		w.say("The name is not below the domain of this agent, and it has no recursors to ask: it refuses.")
	case n.Fault == names.NoKind && word != "":
		w.say("Nothing before %s says what the name is of. That is the word service, node, query or addr, as in web.service.%s.", domain, domain)
	case n.Fault == names.NoPlace:
		w.say("What follows the word that says what the name is of can only be a datacenter, perhaps with the word dc behind it.")
	case n.Fault == names.NoThing:
		w.say("What precedes the word that says what the name is of names nothing.")
	case n.Fault == names.TooLong:
		w.say("The name has more parts than any name here.")
	case w.out.Read.Kind == "other":
		w.say("Names of this kind have no records here.")
	case w.out.Read.Kind == "above":
		w.say("Other names are below this one; it has no records of its own.")
	case w.out.Read.Kind == "addr" && w.out.Read.Address == "":
		w.say("%s is no address: 8 hexadecimal digits are one of IPv4, 32 one of IPv6.", n.Name)
	}
}

// failure says why a lookup was not answered.
func (w *why) failure() {
	last := w.t.last()
	if last == nil || last.err == nil {
		return
	}
	dc := w.place(last)
	switch op.CodeOf(last.err) {
	case op.CodeUnknownDatacenter:
		w.say("No datacenter is called %s.", dc)
	case op.CodeRemovedDatacenter:
		w.say("The datacenter %s was removed from the federation.", dc)
	case op.CodeLeftDatacenter:
		w.say("The datacenter %s has left the federation.", dc)
	case op.CodeUnreachableDatacenter:
		w.say("%s cannot be reached, and nothing is known here of what it has.", dc)
	case op.CodeDenied:
		w.say("The token may not look this up: such a name is answered as if it did not exist.")
	case op.CodeNotFound:
		w.say("There is none in %s.", dc)
	default:
		w.say("The lookup failed: %s.", op.AsError(last.err).Text)
	}
}

// place names the datacenter that a lookup asked.
func (w *why) place(s *step) string {
	if s.header.Datacenter == "" {
		return w.e.Datacenter
	}
	return s.header.Datacenter
}

// where is place within a sentence.
func (w *why) where(s *step) string {
	switch dc := w.place(s); {
	case dc == op.Nearest || dc == op.All:
		return "any datacenter"
	case op.IsFanOut(dc):
		return strings.NewReplacer(">", ", ", ",", ", ").Replace(dc)
	default:
		return dc
	}
}

// other says why a node, a query or an address has no answer.
func (w *why) other() {
	last := w.t.last()
	if last == nil || last.err != nil {
		return
	}
	found, r := last.count(), &w.out.Read
	switch {
	case r.Query != "":
		w.query(last)
	case found > 0 || last.meta.AnyUnreachable():
	case r.Node != "":
		w.say("No node of %s is called %s%s.", w.where(last), r.Node, unseen(last))
	case r.Kind == "reverse":
		w.say("No node and no service has the address %s%s.", r.Address, unseen(last))
		if w.out.Code == "" {
			w.say("So recursors are asked, which is not done here.")
		}
	}
}

func (w *why) query(last *step) {
	a, _ := last.result.(*query.Answer)
	switch {
	case a == nil || len(a.Nodes) == 0:
		w.say("The prepared query finds no instance, neither here nor where it goes on%s.", unseen(last))
	case a.Failovers > 0:
		w.say("The prepared query found no instance in %s. It goes on elsewhere, and %s is the first that has one.", w.e.Datacenter, a.Datacenter)
	}
	if a != nil && len(a.Nodes) > 1 {
		w.say("The order is that of the prepared query: drawn, unless it sorts by distance.")
	}
}

// unseen is what is to be added where the token may hide something.
func unseen(s *step) string {
	if s.meta.Filtered {
		return " that the token may see"
	}
	return ""
}

// service says which instances count, and why others do not.
func (w *why) service(ctx context.Context) {
	if len(w.t.steps) == 0 {
		return
	}
	first, last := w.t.steps[0], *w.t.last() // what is asked now comes behind them
	req, ok := first.request.(*catalog.ServiceRequest)
	if !ok {
		return
	}
	if first.err == nil {
		w.instances(ctx, &first, req)
	}
	switch alone := first.count() == 0 && first.err == nil && first.header.Datacenter == ""; {
	case w.seen.FailsOver == "" && !alone:
	case !w.rules:
		w.say("Whether other datacenters stand in for it is told to who may read the service.")
	case alone && w.seen.FailsOver == "":
		w.say("No other datacenter stands in for it: no rule says so.")
	default:
		w.failsOver(&last, req)
	}
	switch several := len(w.out.Datacenters) > 1; {
	case several && w.seen.Drawn:
		w.say("Instances of the nearest datacenter come first; within one the order is drawn anew for each answer.")
	case several:
		w.say("Instances of the nearest datacenter come first.")
	case w.seen.Drawn:
		w.say("The order is drawn anew for each answer.")
	}
}

// instances says of the instances of a datacenter why they count or not.
func (w *why) instances(ctx context.Context, first *step, req *catalog.ServiceRequest) {
	ctx, cancel := context.WithTimeout(ctx, moreTime)
	defer cancel()
	all := &catalog.ServiceRequest{Service: req.Service, Connect: req.Connect}
	if _, _, err := catalog.ListInstances.Ask(ctx, w.t, first.header, all); err != nil {
		return
	}
	s := w.t.last()
	list, _ := s.result.(*catalog.Instances)
	n, fit, critical, warning := len(rest(list)), 0, 0, 0
	for _, in := range rest(list) {
		if !req.Fits(in.Service) {
			continue
		}
		fit++
		switch in.Checks.Status() {
		case catalog.Critical:
			critical++
		case catalog.Warning:
			warning++
		}
	}
	r, where, found := &w.out.Read, w.where(first), first.count()
	switch {
	case n == 0 && s.meta.Filtered:
		w.say("The token may not see any instance of %s in %s.", r.Service, where)
	case n == 0 && r.Kind == "mesh":
		w.say("No proxy of a mesh stands before a service %s in %s.", r.Service, where)
	case n == 0:
		w.say("No service is called %s in %s.", r.Service, where)
	case fit == 0:
		w.say("The service %s has %s in %s, but none with the tag or the port %s.", r.Service, many(n), where, wanted(r))
	case found == 0:
		w.say("The service %s has %s in %s, but none is healthy: %s.", r.Service, many(fit), where, w.ill(critical, warning))
	case critical > 0 || warning > 0 && req.PassingOnly:
		w.say("Of %s in %s %s left out.", many(fit), where, w.ill(critical, warning)+be(critical, warning, req.PassingOnly))
	}
	if n > 0 && s.meta.Filtered {
		w.say("The token may not see all instances: those are left out.")
	}
}

// wanted is the tag or the port that instances are to have.
func wanted(r *explained.Read) string {
	if r.Port != "" {
		return r.Port
	}
	return r.Tag
}

// ill says how many instances are not well enough.
func (w *why) ill(critical, warning int) string {
	text := fmt.Sprintf("%d critical", critical)
	if w.seen.Config.OnlyPassing && warning > 0 {
		text += fmt.Sprintf(" and %d with a warning (dns_config.only_passing)", warning)
	}
	return text
}

func be(critical, warning int, passing bool) string {
	if n := critical; n == 1 && (!passing || warning == 0) {
		return " is"
	}
	return " are"
}

func many(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// failsOver says who stands in for the own datacenter, and by which rule.
func (w *why) failsOver(last *step, req *catalog.ServiceRequest) {
	order := inOrder(w.seen.FailsOver)
	rule := "dns_config.failover of this agent"
	if _, own := w.configured(req.Service); !own {
		rule = "A rule of " + w.e.Datacenter
		if r := w.e.Rule; r != nil {
			if found := r(strings.ToLower(req.Service)); found != nil {
				rule = "The rule for " + found.Service
			}
		}
	}
	switch {
	case last.err != nil:
	case last.count() == 0:
		w.say("%s has %s stand in, but none of them has a healthy instance%s.", rule, order, unseen(last))
	default:
		w.say("%s has %s stand in: the first that has a healthy instance is %s.", rule, order, strings.Join(w.out.Datacenters, ", "))
	}
}

// inOrder is an order of datacenters in words.
func inOrder(order string) string {
	before, nearest := strings.CutSuffix(order, op.Nearest)
	text := strings.ReplaceAll(strings.TrimSuffix(before, ">"), ">", ", ")
	switch {
	case !nearest:
		return text
	case text == "":
		return "the nearest"
	}
	return text + " and then the nearest"
}

// configured is what dns_config.failover says of a service.
func (w *why) configured(service string) ([]string, bool) {
	list := byname.New(w.seen.Config.Failover).Of(service)
	return list, len(list) > 0
}

// age says which datacenters are not reached, and what that means.
func (w *why) age() {
	for _, s := range w.t.steps {
		for _, o := range s.meta.Outcomes {
			text := ""
			switch o.State {
			case op.Unreachable:
				text = fmt.Sprintf("%s cannot be reached, and nothing is known here of what it has.", o.Datacenter)
			case op.Aged:
				text = fmt.Sprintf("%s cannot be reached now: this is what was known of it %s ago.", o.Datacenter, ago(o.Age))
			}
			if text != "" && !slices.Contains(w.out.Why, text) {
				w.say("%s", text)
			}
		}
	}
	if last := w.t.last(); w.out.Age == 0 || len(w.out.Datacenters) == 0 || len(last.meta.Outcomes) > 0 {
		return
	}
	w.say("This is what was known of %s %s ago: it has not been reached since. So it may be kept for %d s at most.",
		strings.Join(w.out.Datacenters, ", "), ago(time.Duration(w.out.Age*float64(time.Second))), dns.AgedTTL)
}

// answer says what is to be said of the records.
func (w *why) answer() {
	m := &w.seen.Message
	if m.Rcode == mdns.RcodeSuccess && len(m.Answer) == 0 && len(w.t.steps) > 0 && w.t.steps[0].err == nil {
		w.say("The name exists, but has no record of the type %s%s.", w.out.Type, w.otherTypes())
	}
	if n := len(m.Answer); n > 0 && (w.out.Type == "A" || w.out.Type == "AAAA") {
		if alias, ok := m.Answer[n-1].(*mdns.CNAME); ok {
			who := "this agent has no recursors to ask for its addresses"
			if w.seen.Recurses {
				who = "recursors are asked for its addresses, which is not done here"
			}
			w.say("%s was registered as a host name: %s.", strings.TrimSuffix(alias.Target, "."), who)
		}
	}
	if limit := w.seen.Config.ARecordLimit; limit > 0 && len(m.Answer) == limit && (w.out.Type == "A" || w.out.Type == "AAAA") {
		w.say("dns_config.a_record_limit is %d: there may be more.", limit)
	}
	for i, size := range w.out.Truncated {
		if i == len(w.out.Truncated)-1 {
			w.say("A packet of UDP of %d bytes has no room for all of it: clients that want the rest ask again by TCP.", size)
		}
	}
	if m.Rcode == mdns.RcodeServerFailure {
		w.say("So the answer is SERVFAIL: it does not say that there is no such name, and clients ask another server.")
	}
}

// otherTypes says which addresses there are instead.
func (w *why) otherTypes() string {
	v4, v6 := false, false
	for _, s := range w.t.steps {
		list, _ := s.result.(*catalog.Instances)
		for _, in := range rest(list) {
			for _, text := range []string{in.Service.Address, in.Node.Address} {
				if a, err := netip.ParseAddr(text); err == nil {
					v4, v6 = v4 || a.Is4(), v6 || a.Is6()
					break
				}
			}
		}
	}
	switch {
	case w.out.Type == "AAAA" && v4 && !v6:
		return ": the addresses are of IPv4"
	case w.out.Type == "A" && v6 && !v4:
		return ": the addresses are of IPv6"
	}
	return ""
}

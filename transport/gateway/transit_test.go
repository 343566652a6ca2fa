package gateway

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// mesh is servers that know each other by name, of which some carry flows of others.
type mesh struct{ sync.Map }

// from is where a server finds others.
func (m *mesh) from(self string) func(string) (transport.Target, error) {
	return func(server string) (transport.Target, error) {
		if v, ok := m.Load(server); ok {
			if n := v.(*node); n.Peer().Name != self {
				return transport.Target{Addr: n.addr(), Name: n.name}, nil
			}
		}
		return transport.Target{}, errors.New("no such server")
	}
}

// add opens a server.
func (m *mesh) add(t *testing.T, name string, carries bool, change ...func(*Config)) *node {
	t.Helper()
	n := open(t, name, append(change, func(c *Config) {
		if carries {
			c.Locate = m.from(name)
		}
		c.Links = func(_ context.Context, dcs []string) []Link {
			return []Link{{Datacenter: dcs[0], Reached: true, RTT: time.Hour, Loss: -1}, {Datacenter: "dc-other", Reached: true}, {Datacenter: dcs[0]}}
		}
	})...)
	m.Store(n.name, n)
	return n
}

func (n *node) goes(t *testing.T, to *node, through ...*node) error {
	t.Helper()
	w := Way{Gateways: []string{through[0].addr()}}
	for _, by := range through[1:] {
		w.Through = append(w.Through, by.name)
	}
	n.way.Store(&w)
	_, err := n.call(t, to)
	return err
}

// Servers that carry flows do so between others, one or two of them; what they carry is not
// theirs.
func TestServersCarry(t *testing.T) {
	t.Parallel()
	for _, hops := range []int{1, 2} {
		m := &mesh{}
		b, c := m.add(t, "b", false), m.add(t, "c", false)
		var through []*node
		for _, name := range []string{"a1", "a2"}[:hops] {
			through = append(through, m.add(t, name, true))
		}
		if err := b.goes(t, c, through...); err != nil {
			t.Fatalf("through %d: %v", hops, err)
		}
		for _, a := range through {
			if got, labels := a.board.All(); got.Packets == 0 || labels != 2 {
				t.Errorf("%s carried %+v with %d labels", a.name, got, labels)
			}
			for _, s := range a.Stats() {
				if s.Protocol == testProtocol {
					t.Errorf("%s has connections of %s", a.name, s.Protocol)
				}
			}
		}
	}
}

// What servers do not carry: for who is no server, to whom they do not know, through more than
// two, and back to who asks; and who does not carry says so.
func TestWhatServersDoNotCarry(t *testing.T) {
	t.Parallel()
	m := &mesh{}
	a1, a2, a3 := m.add(t, "a1", true), m.add(t, "a2", true), m.add(t, "a3", true)
	b, c, plain := m.add(t, "b", false), m.add(t, "c", false), m.add(t, "p", false)
	client, errAny := open(t, "g", carries), errors.New("any")
	ask := func(n, of *node, q request) error {
		q.Do, q.Label = doOpen, 1
		_, err := n.ask(t.Context(), transport.Target{Addr: of.addr()}, q)
		return err
	}
	for _, x := range []struct {
		what string
		err  error
		want error
	}{
		{"no server asks", ask(client, a1, request{Server: c.name}), ErrNotCarried},
		{"it does not carry", ask(b, plain, request{Server: c.name}), ErrNotCarried},
		{"unknown", ask(b, a1, request{Server: "x.dc-x", Addr: c.addr()}), ErrNotHere},
		{"three of them", ask(b, a1, request{Server: c.name, Through: []string{a2.name, a3.name}}), ErrNotHere},
		{"too far already", ask(b, a1, request{Server: c.name, Hops: maxHops}), ErrNotHere},
		{"hops that make no sense", ask(b, a1, request{Server: c.name, Through: []string{a2.name, a3.name}, Hops: -5}), ErrNotHere},
		{"through who does not carry", ask(b, a1, request{Server: c.name, Through: []string{plain.name}}), errAny},
		{"to who asks", ask(b, a1, request{Server: b.name}), ErrNotHere},
		{"back and forth", ask(b, a1, request{Server: c.name, Through: []string{a1.name}}), ErrNotHere},
	} {
		if !errors.Is(x.err, x.want) && (x.want != errAny || x.err == nil) {
			t.Errorf("%s: %v", x.what, x.err)
		}
	}
	for _, n := range []*node{a1, a2, a3, b, c} {
		eventually(t, "no label is left at "+n.name, func() bool { _, labels := n.board.All(); return labels == 0 })
	}
}

// What a server says of its links is made to make sense: of nothing that was not asked for,
// once, and within bounds.
func TestWhatIsSaidOfLinksIsBounded(t *testing.T) {
	t.Parallel()
	m := &mesh{}
	a, b, g := m.add(t, "a", true), m.add(t, "b", false), open(t, "g", carries)
	got, err := b.Relay.Ask(t.Context(), transport.Target{Addr: a.addr(), Name: a.name}, []string{"dc-c"})
	if err != nil || !got.Carries || len(got.Links) != 1 || got.Links[0] != (Link{Datacenter: "dc-c", Reached: true, RTT: maxTrip}) || got.RTT <= 0 {
		t.Errorf("it says %+v, %v", got, err)
	}
	if got, err = a.Relay.Ask(t.Context(), transport.Target{Addr: b.addr(), Name: b.name}, []string{"dc-c"}); err != nil || got.Carries {
		t.Errorf("who does not carry says %+v, %v", got, err)
	}
	if _, err := g.Relay.Ask(t.Context(), transport.Target{Addr: a.addr()}, []string{"dc-c"}); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("who is no server is told: %v", err)
	}
	if _, err := b.ask(t.Context(), transport.Target{Addr: a.addr()}, request{Do: doPaths, Datacenters: make([]string, maxAsked+1)}); !errors.Is(err, errBadRequest) {
		t.Errorf("a question without end: %v", err)
	}
}

// Who asks without pause is not answered for a while; others are.
func TestQuestionsAboutPathsAreBounded(t *testing.T) {
	t.Parallel()
	m := &mesh{}
	a, b, c := m.add(t, "a", true), m.add(t, "b", false), m.add(t, "c", false)
	to := transport.Target{Addr: a.addr(), Name: a.name}
	var err error
	began, asked := time.Now(), 0
	for ; err == nil && asked < 100*burstQuestions; asked++ {
		_, err = b.Relay.Ask(t.Context(), to, []string{"dc-c"})
	}
	if most := burstQuestions + 2 + int(time.Since(began).Seconds()*maxQuestions); !errors.Is(err, ErrTooMany) || asked > most {
		t.Errorf("question %d, of %d at most: %v", asked, most, err)
	}
	if _, err := c.Relay.Ask(t.Context(), to, []string{"dc-b"}); err != nil {
		t.Errorf("another one asks: %v", err)
	}
}

// What counts for a peer is not what another one has who says that it is the same node.
func TestWhoIsTheSame(t *testing.T) {
	p := identity.Peer{Datacenter: "dc1", NodeID: "id", Name: "n", Gateway: true}
	for what, change := range map[string]func(*identity.Peer){
		"of another datacenter": func(q *identity.Peer) { q.Datacenter = "dc2" }, "another name": func(q *identity.Peer) { q.Name = "m" },
		"another node": func(q *identity.Peer) { q.NodeID = "other" }, "a server": func(q *identity.Peer) { q.Server, q.Gateway = true, false },
	} {
		q := p
		if !same(p, q) {
			t.Fatal("a peer is not the same as itself")
		}
		if change(&q); same(p, q) {
			t.Errorf("%s is taken for the same", what)
		}
	}
}

// A link that dies behind who carries, first or second, ends the flow soon, and the call that
// waits there with it.
func TestALinkBehindWhoCarriesDies(t *testing.T) {
	t.Parallel()
	for _, hops := range []int{1, 2} {
		m := &mesh{}
		b, c := m.add(t, "b", false), m.add(t, "c", false)
		last := m.add(t, "leaky", true)
		through := []*node{last}
		if hops == 2 {
			through = []*node{m.add(t, "a1", true), last}
		}
		if err := b.goes(t, c, through...); err != nil {
			t.Fatal(err)
		}
		last.cuts.Store(c.addr(), true) // what c sends still comes
		began := time.Now()
		if err := b.goes(t, c, through...); err == nil {
			t.Fatal("a call was answered over a link that is cut")
		}
		took := time.Since(began)
		t.Logf("%d servers carry: the call ended after %v", hops, took)
		if took > 3*time.Second {
			t.Errorf("%d servers carry: the call ended after %v", hops, took)
		}
		other := m.add(t, "o", true)
		if err := b.goes(t, c, other); err != nil {
			t.Errorf("another way: %v", err)
		}
	}
}

package gossip

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// mute is a transport whose packets and streams to others can be lost.
type mute struct {
	*memberlist.MockTransport
	on atomic.Bool
}

func (m *mute) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if m.on.Load() {
		return time.Now(), nil
	}
	return m.MockTransport.WriteToAddress(b, a)
}

func (m *mute) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if m.on.Load() {
		<-time.After(timeout)
		return nil, context.DeadlineExceeded
	}
	return m.MockTransport.DialAddressTimeout(a, timeout)
}

// reading adds up the series of a metric that have the label, or all for "".
func reading(t *testing.T, reg prometheus.Gatherer, name, label, value string) (sum float64, found int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "legate_gossip_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if label == "" || l.GetName() == label && l.GetValue() == value {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
					found++
					break
				}
			}
		}
	}
	return sum, found
}

func TestDoubtsAndTrafficAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var net memberlist.MockNetwork
		regs, mutes := map[string]*prometheus.Registry{}, map[string]*mute{}
		pools := map[string]*Pool{}
		for _, name := range []string{"a.dc1", "b.dc2"} {
			regs[name], mutes[name] = prometheus.NewRegistry(), &mute{MockTransport: net.NewTransport(name)}
			p, err := Start(Config{Pool: "wan", NodeName: name, Tags: map[string]string{"dc": name[2:]}, Profile: LAN, Transport: mutes[name],
				Registerer: regs[name], DatacenterOf: func(member string) string { return member[2:] }})
			if err != nil {
				t.Fatal(err)
			}
			pools[name] = p
		}
		if _, found := reading(t, regs["a.dc1"], "probe_round_trip_seconds", "datacenter", "dc1"); found != 1 {
			t.Error("the own datacenter has no series of probes from the start")
		}
		if n, err := pools["a.dc1"].Join([]string{"b.dc2/" + pools["b.dc2"].LocalMember().HostPort()}); n != 1 {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		for _, name := range []string{"packet_sent_bytes_total", "packet_received_bytes_total", "stream_sent_bytes_total", "stream_received_bytes_total"} {
			if n, _ := reading(t, regs["a.dc1"], name, "", ""); n < 100 {
				t.Errorf("%s is %v", name, n)
			}
			if n, _ := reading(t, regs["a.dc1"], "probe_round_trip_seconds", "datacenter", "dc2"); n < 5 {
				t.Errorf("%v probes of dc2 in 10 s", n)
			}
		}
		out, _ := reading(t, regs["a.dc1"], "stream_sent_bytes_total", "", "")
		in, _ := reading(t, regs["b.dc2"], "stream_received_bytes_total", "", "")
		if out != in {
			t.Errorf("%v bytes went out on streams, %v came in", out, in)
		}
		for _, name := range []string{"suspicions_total", "refutations_total"} {
			if n, found := reading(t, regs["b.dc2"], name, "", ""); n != 0 || found != 1 {
				t.Errorf("%s is %v before anybody is silent, in %d series", name, n, found)
			}
		}
		mutes["a.dc1"].on.Store(true) // its probes, one in 2 s at least, are lost, so it suspects the other
		<-time.After(3500 * time.Millisecond)
		mutes["a.dc1"].on.Store(false) // which hears of it
		<-time.After(10 * time.Second)
		if n, _ := reading(t, regs["a.dc1"], "suspicions_total", "", ""); n < 1 {
			t.Error("who suspects counts no suspicion")
		}
		if n, _ := reading(t, regs["b.dc2"], "refutations_total", "", ""); n < 1 {
			t.Error("who is suspected counts no refutation")
		}
		for _, m := range mutes { // which would wait for who has stopped
			m.on.Store(true)
		}
		<-time.After(time.Second)
		for _, p := range pools {
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		<-time.After(time.Minute) // memberlist's last probes end
	})
}

func TestProbesOfManyDatacentersShareSeries(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), &Pool{cfg: Config{Pool: "wan"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxDatacenters {
		m.probesOf(string(rune('A' + i)))
	}
	if n := len(m.datacenters); n != maxDatacenters+1 {
		t.Errorf("%d series", n)
	}
}

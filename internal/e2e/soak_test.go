//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/proctest"
)

// soakVar is how long the agents are loaded; without it the tests take the short form.
const soakVar = "LEGATE_SOAK"

// What an agent may use more of in the last third of a soak than in the one before: a
// share, and so much that counts for nothing.
type leeway struct {
	share, free float64
}

// measures are what is looked at, and what it may grow by. Disks move by whole files.
func measures() map[string]leeway {
	return map[string]leeway{
		"resident memory, MiB":    {0.10, 8},
		"goroutines":              {0.05, 20},
		"open files":              {0.05, 8},
		"data directory, MiB":     {0.15, 48},
		"written per write, KiB":  {0.15, 4},
		"longest answer, seconds": {1, 1},
	}
}

// series are the samples of one measure of one agent, evenly apart.
type series []float64

// median of samples; 0 of none.
func median(of series) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// grew compares the last third of the samples with the one before: what came earlier is
// how caches fill.
func (s series) grew(a leeway) (before, after float64, too bool) {
	third := len(s) / 3
	before, after = median(s[third:2*third]), median(s[2*third:])
	return before, after, after > before*(1+a.share)+a.free
}

func TestWhatGrowsIsSeen(t *testing.T) {
	flat, slow := series{}, series{}
	for i := range 300 {
		flat = append(flat, 100+float64(i%7))
		slow = append(slow, 100+float64(i)) // a third more in the last third
	}
	if _, _, too := flat.grew(leeway{0.1, 8}); too {
		t.Error("what is flat grows")
	}
	if _, _, too := slow.grew(leeway{0.1, 8}); !too {
		t.Error("what grows without end is flat")
	}
}

// soak is agents under a load that lasts.
type soak struct {
	t       *testing.T
	nodes   []*node
	group   *lifecycle.Group
	writes  atomic.Int64
	failed  atomic.Int64
	asked   atomic.Int64
	longest atomic.Int64 // nanoseconds, since the last sample
	samples map[string]map[string]series
	last    map[string]float64 // bytes that a process has written
	at      int64              // writes then
}

// TestASoakLeavesNothingBehind loads three servers, two client agents and another
// datacenter with a third of the writes that they can do, registrations, checks that flap,
// watchers, sessions and DNS: what they use stays as it was.
func TestASoakLeavesNothingBehind(t *testing.T) {
	d, every := 12*time.Second, 500*time.Millisecond
	if long := os.Getenv(soakVar); long != "" {
		var err error
		if d, err = time.ParseDuration(long); err != nil {
			t.Fatal(err)
		}
		every = max(time.Second, d/600)
	} else {
		t.Parallel()
	}
	s := newSoak(t)
	rate := s.capacity(min(d/4, 10*time.Second)) / 3
	s.load(rate)
	began := time.Now()
	for time.Since(began) < d {
		<-time.After(every)
		s.sample()
	}
	s.stop()
	t.Logf("%v: %.0f writes a second of keys, a third of what is possible; %d writes, %d other questions, %d failed", d, rate, s.writes.Load(), s.asked.Load(), s.failed.Load())
	if s.failed.Load() > s.asked.Load()/1000 {
		t.Errorf("%d requests failed", s.failed.Load())
	}
	s.judge(os.Getenv(soakVar) != "")
	for _, n := range s.nodes {
		calm(t, n.name, n.String())
	}
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	h := proctest.Loopback(t)
	key := keygen(t)
	s := &soak{t: t, group: lifecycle.New("soak"), samples: map[string]map[string]series{}, last: map[string]float64{}}
	for i := 1; i <= 3; i++ {
		s.nodes = append(s.nodes, start(t, spec{host: h, name: fmt.Sprint("s", i), dc: "dc1", ip: h.Addr(1, i), expect: 3, key: key, lan: []string{h.Addr(1, 1), h.Addr(1, 2)}}))
	}
	for i := 1; i <= 2; i++ {
		s.nodes = append(s.nodes, start(t, spec{host: h, name: fmt.Sprint("c", i), dc: "dc1", ip: h.Addr(1, 10+i), key: key, lan: []string{h.Addr(1, i)}}))
	}
	s.nodes = append(s.nodes, start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, wan: []string{h.Addr(1, 1)}}))
	awaitLeader(t, patience, s.nodes[:3]...)
	for _, n := range s.nodes {
		proctest.Until(t, patience, n.name+" answers of both datacenters", func() error {
			if err := n.put("soak/"+n.name, "v", "dc1"); err != nil {
				return err
			}
			return n.put("soak/"+n.name, "v", "dc2")
		})
	}
	return s
}

// capacity is how many writes a second there are when sixteen writers do nothing else.
func (s *soak) capacity(d time.Duration) float64 {
	group := lifecycle.New("capacity")
	var done atomic.Int64
	for w := range 16 {
		n := s.nodes[w%5]
		must(s.t, "begin to write", group.Go(fmt.Sprint("writer ", w), func(ctx context.Context) {
			for i := 0; ctx.Err() == nil; i++ {
				if n.put(soakKey(w*1000+i), strings.Repeat("v", 512), "") == nil {
					done.Add(1)
				}
			}
		}))
	}
	<-time.After(d)
	n := float64(done.Load()) / d.Seconds()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(s.t, "stop writing", group.Stop(ctx))
	return n
}

// soakKey is one of 5,000 keys.
func soakKey(i int) string { return fmt.Sprintf("soak/keys/%d", i%5000) }

// each does something so many times a second, until the soak ends. What is slower than
// that is done less often.
func (s *soak) each(name string, rate float64, do func(i int) error) {
	s.t.Helper()
	pause := time.Duration(float64(time.Second) / rate)
	must(s.t, "begin "+name, s.group.Go(name, func(ctx context.Context) {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now()
			err := do(i)
			s.asked.Add(1)
			if took := int64(time.Since(began)); took > s.longest.Load() {
				s.longest.Store(took)
			}
			if err != nil && ctx.Err() == nil {
				s.failed.Add(1)
				s.t.Logf("%s: %v", name, err)
			}
		}
	}))
}

func (s *soak) load(rate float64) {
	const writers = 8
	for w := range writers {
		n := s.nodes[w%5]
		s.each(fmt.Sprint("writes ", w), rate/writers, func(i int) error {
			err := n.put(soakKey(i*writers+w), strings.Repeat("v", 512), "")
			if err == nil {
				s.writes.Add(1)
			}
			return err
		})
		s.each(fmt.Sprint("reads ", w), rate/writers, func(i int) error {
			_, _, err := n.client.KV().Get(soakKey(i*7), &api.QueryOptions{AllowStale: i%2 == 0})
			return err
		})
	}
	for c, n := range s.nodes[3:5] {
		agent := n.client.Agent()
		s.each(n.name+" registers", 5, func(i int) error {
			id := fmt.Sprintf("svc-%d-%d", c, i%40)
			if i%80 >= 40 {
				return agent.ServiceDeregister(id)
			}
			return agent.ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: fmt.Sprint("svc-", i%20), Port: 80,
				Check: &api.AgentServiceCheck{CheckID: "check-" + id, TTL: "1h", Status: api.HealthPassing}})
		})
		must(s.t, "register what flaps", agent.ServiceRegister(&api.AgentServiceRegistration{ID: "flaps", Name: "flaps", Port: 80,
			Check: &api.AgentServiceCheck{CheckID: "flaps", TTL: "1h", Status: api.HealthPassing}}))
		s.each(n.name+" flaps", 4, func(i int) error {
			return agent.UpdateTTL("flaps", "as it comes", []string{api.HealthPassing, api.HealthCritical}[i%2])
		})
	}
	for _, n := range s.nodes {
		s.watch(n)
		s.each("DNS of "+n.name, 40, func(i int) error { return s.resolve(n, i) })
	}
	s.each("sessions", 2, func(int) error {
		session := s.nodes[3].client.Session()
		id, _, err := session.CreateNoChecks(&api.SessionEntry{TTL: "10s", Behavior: api.SessionBehaviorDelete}, nil)
		if err == nil {
			_, _, err = s.nodes[3].client.KV().Acquire(&api.KVPair{Key: "soak/lock/" + id, Session: id}, nil)
		}
		if err == nil {
			_, err = session.Destroy(id, nil)
		}
		return err
	})
	s.each("far", 10, func(i int) error { return s.nodes[i%5].put("far/"+strconv.Itoa(i%100), "v", "dc2") })
}

// watch begins ten blocking queries that never end.
func (s *soak) watch(n *node) {
	for w := range 10 {
		must(s.t, "begin to watch", s.group.Go(fmt.Sprintf("watch %s %d", n.name, w), func(ctx context.Context) {
			var index uint64
			for ctx.Err() == nil {
				q := (&api.QueryOptions{WaitIndex: index, WaitTime: 10 * time.Second, Datacenter: "dc1"}).WithContext(ctx)
				var meta *api.QueryMeta
				var err error
				if w%2 == 0 {
					_, meta, err = n.client.Health().Service(fmt.Sprint("svc-", w), "", false, q)
				} else {
					_, meta, err = n.client.KV().Keys(fmt.Sprint("far/", w), "", q)
				}
				if s.asked.Add(1); err != nil {
					if ctx.Err() == nil {
						s.failed.Add(1)
					}
					index = 0
					continue
				}
				index = meta.LastIndex
			}
		}))
	}
}

func (s *soak) resolve(n *node, i int) error {
	name := []string{"flaps.service.consul.", "svc-3.service.dc1.consul.", "s1.node.consul.", "absent.service.consul."}[i%4]
	var c net.Conn
	err := n.host.Inside(func() (err error) {
		c, err = net.Dial("udp", net.JoinHostPort(n.ip, "8600"))
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if err := conn.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeA)); err != nil {
		return err
	}
	answer, err := conn.ReadMsg()
	if err == nil && answer.Rcode == dns.RcodeServerFailure {
		err = fmt.Errorf("%s: SERVFAIL", name)
	}
	return err
}

func (s *soak) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(s.t, "stop the load", s.group.Stop(ctx))
}

// sample looks at what each agent uses.
func (s *soak) sample() {
	writes := s.writes.Load()
	written, counted := 0., float64(writes-s.at)
	s.at = writes
	for _, n := range s.nodes {
		m := map[string]float64{}
		memory, _, err := n.Memory()
		must(s.t, "look at the memory of "+n.name, err)
		m["resident memory, MiB"] = float64(memory) / (1 << 20)
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.Pid()))
		must(s.t, "look at the files of "+n.name, err)
		m["open files"] = float64(len(files))
		info, err := n.client.Agent().Self()
		must(s.t, "ask "+n.name+" about itself", err)
		stats, _ := info["Stats"]["runtime"].(map[string]any)
		goroutines, err := strconv.Atoi(fmt.Sprint(stats["goroutines"]))
		must(s.t, "read how many goroutines there are", err)
		m["goroutines"] = float64(goroutines)
		m["data directory, MiB"] = size(s.t, n.dir) / (1 << 20)
		total := wrote(s.t, n.Pid())
		if n.expect == 3 && s.last[n.name] > 0 {
			written += total - s.last[n.name]
		}
		s.last[n.name] = total
		for what, v := range m {
			s.add(n.name, what, v)
		}
	}
	if counted > 0 && written > 0 {
		s.add("three servers", "written per write, KiB", written/counted/1024)
	}
	s.add("all", "longest answer, seconds", time.Duration(s.longest.Swap(0)).Seconds())
}

func (s *soak) add(of, what string, v float64) {
	if s.samples[of] == nil {
		s.samples[of] = map[string]series{}
	}
	s.samples[of][what] = append(s.samples[of][what], v)
}

// size is how many bytes the files of a folder have. Files come and go meanwhile.
func size(t *testing.T, dir string) (sum float64) {
	t.Helper()
	must(t, "look at a data directory", filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := e.Info(); err == nil {
			sum += float64(info.Size())
		}
		return nil
	}))
	return sum
}

// wrote is how many bytes a process had written to disks.
func wrote(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	must(t, "look at what was written", err)
	for line := range bytes.Lines(b) {
		if n, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			v, err := strconv.ParseFloat(string(bytes.TrimSpace(n)), 64)
			must(t, "read what was written", err)
			return v
		}
	}
	return 0
}

// judge shows all measures; the long form asserts that they are flat.
func (s *soak) judge(assert bool) {
	for _, of := range slices.Sorted(maps.Keys(s.samples)) {
		for _, what := range slices.Sorted(maps.Keys(s.samples[of])) {
			all := s.samples[of][what]
			before, after, too := all.grew(measures()[what])
			s.t.Logf("%s: %s: %.1f, then %.1f", of, what, before, after)
			if len(all) < 3 {
				s.t.Errorf("%s: %s: only %d samples", of, what, len(all))
			}
			if too && assert {
				s.t.Errorf("%s: %s: %.1f and later %.1f", of, what, before, after)
			}
		}
	}
}

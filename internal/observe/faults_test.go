//go:build linux

package observe

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/legate-project/legate/internal/proctest"
)

// scene is what a fault may break.
type scene struct {
	*federation
	prometheus *prometheus
	recursor   *recursor
}

// fault is one thing that goes wrong, and the alerts that it must raise.
type fault struct {
	name   string
	short  bool // part of the short form
	raises []string
	// strike breaks something; what it returns is done when the alerts have fired,
	// before everything is healed. While they have not it is kept up by again.
	strike func(s *scene) (end func())
	again  func(s *scene)
}

func nothing() {}

// unprovoked are the alerts that no fault from outside raises.
func unprovoked() map[string]string {
	return map[string]string{
		"LegatePanics":                  "a request that makes a handler panic would be mended, not kept for a test",
		"LegateCertificateExpires":      "certificates of these agents are valid for years",
		"LegateTwoHomesOfAccessControl": "takes a datacenter that is configured otherwise (internal/testcluster tests it)",
		"LegateAccessCopiesDiffer":      "takes a server that writes other than what it was told, or a snapshot restored there (server/copies tests it)",
		"LegateMetricsMissing":          "the registry fails only if the program registers what contradicts itself",
		"LegateGossipEventsDropped":     "an agent drops events when its own reader is 4,096 behind: whatever holds the reader from outside holds the whole process",
		"LegateDatagramsDropped":        "128 packets must wait on one connection; gossip sends a few each second, and gives up a connection that bad before",
		"LegateWritesHeldBack":          "takes a disk that syncs 64 MiB of the log faster than it writes 16 MiB of the state",
	}
}

// faults are all faults, in order.
func faults() []fault {
	return []fault{
		{name: "the leader is killed", short: true, strike: killLeader,
			raises: []string{"LegateAgentDown", "LegateNoFailureTolerance", "LegateMembersFailed"}},
		{name: "a majority is killed", short: true, strike: killMajority,
			raises: []string{"LegateNoLeader", "LegateHTTPFails", "LegateClientWithoutServer", "LegateAntiEntropyFails", "LegateDatacenterDegraded"}},
		{name: "recursors are silent", short: true, strike: func(s *scene) func() { s.recursor.mood.Store(silent); return nothing },
			raises: []string{"LegateDNSFails", "LegateRecursorsFail"}},
		{name: "recursors are slow", strike: func(s *scene) func() { s.recursor.mood.Store(slow); return nothing },
			raises: []string{"LegateDNSSlow"}},
		{name: "leaders are killed one after another", strike: killLeaders,
			raises: []string{"LegateElectionsTooOften"}},
		{name: "an agent is killed again and again", strike: killAgain,
			raises: []string{"LegateAgentRestarts"}},
		{name: "a follower stands still", strike: func(s *scene) func() { s.follower().Signal(syscall.SIGSTOP); return nothing },
			raises: []string{"LegateFollowerBehind"}},
		{name: "agents stop and go on", strike: func(*scene) func() { return nothing }, again: stopAndGo,
			raises: []string{"LegateMembersFlap"}},
		{name: "a server hears nobody", strike: func(s *scene) func() { s.deafen(s.follower(), subnet(0)+"1-"+subnet(0)+"20"); return nothing },
			raises: []string{"LegateServerHearsNoLeader", "LegateGossipSplit", "LegateGossipDoubtsItself"}},
		{name: "a datacenter is cut off", strike: func(s *scene) func() { s.cut(1); return nothing },
			raises: []string{"LegateDatacenterUnreachable", "LegateBreakerOpen", "LegateViewsAge", "LegateDirectoryAges", "LegateAccessCopiesBehind"}},
		{name: "an agent misses a gossip key", strike: missKey,
			raises: []string{"LegateGossipKeysDiffer"}},
		{name: "a datacenter is removed while another is cut off", strike: removeBehind,
			raises: []string{"LegateRemovedDatacentersDiffer"}},
		{name: "a datacenter comes and goes", strike: func(*scene) func() { return nothing }, again: cutAndHeal,
			raises: []string{"LegateDatacenterStateFlaps", "LegateServersOfDatacenterDamped"}},
		{name: "packets are lost", strike: losePackets,
			raises: []string{"LegatePacketsLost"}},
		{name: "a stranger wants in", strike: stranger,
			raises: []string{"LegateConnectionsRefused"}},
		{name: "a flood of user events", strike: func(*scene) func() { return nothing }, again: flood,
			raises: []string{"LegateGossipQueueLong"}},
		{name: "the leader's disk is slow", strike: func(*scene) func() { return nothing }, again: slowDisk,
			raises: []string{"LegateSlowLogSync", "LegateSlowCommits", "LegateHTTPSlow"}},
		{name: "a disk stands still", strike: func(s *scene) func() { s.follower().disk.freeze(8 * time.Second); return nothing },
			raises: []string{"LegateDiskStandsStill"}},
		{name: "a disk is full", strike: fillDisk,
			raises: []string{"LegateAgentDown", "LegateNoFailureTolerance"}},
		{name: "file descriptors run short", strike: fewFiles,
			raises: []string{"LegateFileDescriptorsShort"}},
		{name: "an agent is scraped without labels", strike: scrapeBare,
			raises: []string{"LegateScrapeWithoutDatacenter"}},
	}
}

func killLeader(s *scene) func() {
	s.leader().Kill()
	return nothing
}

func killMajority(s *scene) func() {
	leader := s.leader()
	s.follower().Kill()
	leader.Kill()
	c := s.clients[0] // something to bring into the catalog
	_, _ = s.ask(s.t.Context(), http.MethodPut, c.url("/v1/agent/service/register"), `{"Name":"late","Port":1}`)
	return s.steadyWrites()
}

// steadyWrites begins a write every 50 ms until what it returns is called. Each waits for
// a leader before it fails, so writes that begin together would fail together, and then
// none for longer than rates look back.
func (s *scene) steadyWrites() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			n := append(s.servers[:0:0], s.clients...)
			for _, server := range s.servers {
				if !server.Exited() {
					n = append(n, server)
				}
			}
			all.Go(func() { _, _ = s.ask(ctx, http.MethodPut, n[i%len(n)].url("/v1/kv/many"), "x") })
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); all.Wait() }
}

// manyWrites writes keys at once. Each write waits for a leader before it fails.
func manyWrites(s *scene) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 100 {
		n := append(s.servers[:0:0], s.clients...)
		for _, server := range s.servers {
			if !server.Exited() {
				n = append(n, server)
			}
		}
		all.Go(func() { _, _ = s.ask(ctx, http.MethodPut, n[i%len(n)].url("/v1/kv/many"), "x") })
	}
	all.Wait()
}

// killLeaders kills a leader, waits for the next, and so on.
func killLeaders(s *scene) func() {
	for range 4 {
		n := s.leader()
		n.Kill()
		s.leader()
		s.start(n)
		s.must(http.MethodPut, n.url("/v1/kv/back"), "x")
	}
	return nothing
}

func killAgain(s *scene) func() {
	n := s.clients[len(s.clients)-1]
	for range 3 {
		n.Kill()
		s.start(n)
		s.must(http.MethodPut, n.url("/v1/kv/back"), "x")
		<-time.After(2 * scrapeEvery)
	}
	return nothing
}

// failed waits until a server says that members failed, or none.
func (s *scene) failed(want bool, members ...*node) {
	s.t.Helper()
	proctest.Until(s.t, patience, fmt.Sprintf("members failed: %v", want), func() error {
		found, err := s.prometheus.instant(fmt.Sprintf(`max(legate_gossip_members{dc="dc1",pool="lan",status="failed",instance="%s:8500"})`, s.servers[0].ip))
		if err != nil {
			return err
		}
		for _, v := range found {
			if got := v.points[0].value; got == 0 && !want || got >= float64(len(members)) && want {
				return nil
			}
		}
		return fmt.Errorf("%v", found)
	})
}

func stopAndGo(s *scene) {
	for _, n := range s.clients {
		n.Signal(syscall.SIGSTOP)
	}
	s.failed(true, s.clients...)
	for _, n := range s.clients {
		n.Signal(syscall.SIGCONT)
	}
	s.failed(false)
}

// missKey installs a key while an agent stands still. It goes on soon, and lacks it.
func missKey(s *scene) func() {
	const path, body = "/v1/operator/keyring", `{"Key":"` + foreign + `"}`
	n := s.clients[0]
	n.Signal(syscall.SIGSTOP)
	_, err := s.ask(s.t.Context(), http.MethodPost, s.servers[0].url(path), body)
	n.Signal(syscall.SIGCONT)
	if err == nil {
		s.t.Error("a key was installed on an agent that stands still")
	}
	s.failed(false)
	return func() { s.must(http.MethodDelete, s.servers[0].url(path), body) }
}

// removeBehind removes a datacenter where another does not hear of it.
func removeBehind(s *scene) func() {
	s.cut(1)
	s.must(http.MethodDelete, s.servers[0].url("/v1/federation/datacenters/dc3?force"), "")
	return func() {
		s.heal()
		s.must(http.MethodPut, s.servers[0].url("/v1/federation/datacenters/dc3"), `{"Removed":false}`)
	}
}

// cutAndHeal parts a datacenter for as long as gossip takes to notice.
func cutAndHeal(s *scene) {
	s.cut(1)
	for range 3 {
		<-time.After(4 * time.Second) // calls fail at once by now
		s.between()
		<-time.After(2 * time.Second)
		s.cut(1)
	}
	<-time.After(12 * time.Second) // and gossip knows
	s.between()
	<-time.After(3 * time.Second)
}

func losePackets(s *scene) func() {
	s.between("numgen random mod 100 < 8 drop")
	return nothing
}

// stranger is a server with another key that joins and is refused.
func stranger(s *scene) func() {
	n := s.node(len(s.lans)-1, "stranger", 77, "-server", "-bootstrap-expect=1", "-encrypt="+foreign, "-retry-join-wan="+s.servers[0].ip)
	n.args = without(n.args, "-encrypt="+key)
	s.start(n)
	return n.Kill
}

func without(words []string, word string) (out []string) {
	for _, w := range words {
		if w != word {
			out = append(out, w)
		}
	}
	return out
}

// flood fires events as fast as they are taken.
func flood(s *scene) {
	until := time.Now().Add(6 * time.Second)
	for i := 0; time.Now().Before(until); i++ {
		_, _ = s.ask(s.t.Context(), http.MethodPut, s.servers[i%3].url("/v1/event/fire/flood"+strconv.Itoa(i%7)), strings.Repeat("x", 200))
	}
}

// slowDisk stops the leader's disk again and again while many write.
func slowDisk(s *scene) {
	d := s.leader().disk
	var writing sync.WaitGroup
	for range 8 {
		writing.Go(func() { manyWrites(s) })
		d.freeze(1500 * time.Millisecond)
		<-time.After(100 * time.Millisecond)
	}
	writing.Wait()
}

func fillDisk(s *scene) func() { return s.follower().disk.fill() }

// fewFiles lets a client agent open little more than it has open.
func fewFiles(s *scene) func() {
	pid := s.clients[0].Pid()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	limit := func(n uint64) {
		var old unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
			s.t.Fatal(err)
		}
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	limit(uint64(len(open)) + 2)
	return func() { limit(4096) }
}

// scrapeBare has an agent scraped by a Prometheus that knows no datacenter.
func scrapeBare(s *scene) func() {
	bare := target{[]string{s.clients[0].ip + ":8500"}, map[string]string{"__metrics_path__": "/metrics"}}
	s.prometheus.scrape(append(s.targets(), bare))
	return func() { s.prometheus.scrape(s.targets()) }
}

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/metrics"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/storage"
)

// registerMetrics shows what the agent itself counts; the rest is its parts'.
func registerMetrics(a *Agent) {
	logs, calm, release := a.logs, a.calm, a.opts.Version
	a.reg.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "legate_agent_monitor_dropped_lines_total",
			Help: "Log lines that clients of /v1/agent/monitor were too slow for."}, func() float64 { return float64(logs.Lost()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_agent_monitors",
			Help: "Clients of /v1/agent/monitor."}, func() float64 { return float64(logs.Listeners()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "legate_log_lines_suppressed_total",
			Help: "Log lines left out because their kind repeated too often. Worry: rising for minutes: look which kind the log says it is."}, func() float64 { return float64(calm.Suppressed()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "legate_version", Help: "1, with this build's version and the one of Consul's interfaces that it speaks.",
			ConstLabels: prometheus.Labels{"version": release, "compatible": version.Consul}}, func() float64 { return 1 }),
	)
}

// startMetrics shows what can be counted once gossip and, on a server, the
// state are there, and ends the intervals of /v1/agent/metrics.
func (a *Agent) startMetrics() error {
	a.reg.MustRegister(&memberCount{a: a,
		members:   prometheus.NewDesc("legate_agent_lan_members", "Live members of the datacenter, by role.", []string{"role"}, nil),
		healthy:   prometheus.NewDesc("legate_server_healthy", "1 while all servers of Raft's configuration are alive in gossip, else 0. Worry: 0.", nil, nil),
		tolerance: prometheus.NewDesc("legate_server_failure_tolerance", "Voters that may fail before the datacenter has no leader, as this server sees it. Worry: 0 where there are three servers or more.", nil, nil),
	})
	if a.server != nil {
		a.reg.MustRegister(&rowCount{state: a.server.state,
			desc: prometheus.NewDesc("legate_state_rows", "Records of the replicated state by table; a minute old at most, or longer where counting takes more than 0.2 s.", []string{"table"}, nil)})
	}
	if err := a.filterMetrics(&a.cfg.Telemetry); err != nil {
		return err
	}
	return errors.Join(a.group.Go("intervals of metrics", func(ctx context.Context) { a.reg.Run(ctx, metrics.Interval) }), a.startSinks())
}

// filterMetrics has the prefixes of the configuration decide what is shown under
// Consul's names.
func (a *Agent) filterMetrics(t *config.Telemetry) error {
	f, err := metrics.NewFilter(t.FilterDefault, t.PrefixFilter)
	if err != nil {
		return fmt.Errorf("telemetry.prefix_filter: %w", err)
	}
	a.reg.SetFilter(f)
	return nil
}

// startSinks sends metrics where the configuration says.
func (a *Agent) startSinks() error {
	t := &a.cfg.Telemetry
	for _, sink := range []metrics.Sink{
		{Protocol: metrics.Statsd, Addr: t.StatsdAddr}, {Protocol: metrics.Statsite, Addr: t.StatsiteAddr},
		{Protocol: metrics.DogStatsD, Addr: t.DogstatsdAddr, Tags: t.DogstatsdTags},
	} {
		if sink.Addr == "" {
			continue
		}
		if !t.RetryFailedConnection {
			if err := sink.Check(a.group.Context()); err != nil {
				return fmt.Errorf("telemetry: %w", err)
			}
		}
		each := cmp.Or(a.opts.Timing.MetricsInterval, metrics.Interval)
		if err := a.group.Go("metrics to "+string(sink.Protocol), func(ctx context.Context) { a.reg.Push(ctx, sink, a.metricNames(), each) }); err != nil {
			return err
		}
	}
	return nil
}

// metricNames is how metrics are called under Consul's names.
func (a *Agent) metricNames() metrics.Names {
	n := metrics.Names{Prefix: a.cfg.Telemetry.MetricsPrefix, Datacenter: a.cfg.Datacenter, Compat: a.cfg.Telemetry.Compat != ""}
	if !a.cfg.Telemetry.DisableHostname {
		n.Host, _ = os.Hostname() // without one names go without
	}
	return n
}

// memberCount counts the agents of the datacenter.
type memberCount struct {
	a                           *Agent
	members, healthy, tolerance *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *memberCount) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.members
	if c.a.server != nil {
		ch <- c.healthy
		ch <- c.tolerance
	}
}

// Collect implements prometheus.Collector.
func (c *memberCount) Collect(ch chan<- prometheus.Metric) {
	alive, servers, clients := map[string]bool{}, 0, 0
	for _, m := range c.a.lan.Members() {
		switch {
		case m.Status != gossip.Alive:
		case m.Role() == gossip.RoleServer:
			servers++
			alive[m.ID()] = true
		default:
			clients++
		}
	}
	ch <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(servers), "server")
	ch <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(clients), "client")
	if c.a.server == nil {
		return
	}
	healthy, tolerance := c.health(alive)
	ch <- prometheus.MustNewConstMetric(c.healthy, prometheus.GaugeValue, healthy)
	ch <- prometheus.MustNewConstMetric(c.tolerance, prometheus.GaugeValue, tolerance)
}

// health says whether all servers live, and how many voters may go before
// there is no quorum.
func (c *memberCount) health(alive map[string]bool) (healthy, tolerance float64) {
	list, _, err := c.a.server.raft.Configuration()
	if err != nil || len(list) == 0 { // it is stopping, or has not begun
		return 0, 0
	}
	voters, live := 0, 0
	healthy = 1
	for _, s := range list {
		if !alive[s.ID] {
			healthy = 0
		}
		if s.Voter {
			voters++
			if alive[s.ID] {
				live++
			}
		}
	}
	return healthy, float64(max(live-(voters/2+1), 0))
}

const (
	// rowsKept is how long the numbers of records are good for at least although the
	// state has changed: counting reads every record.
	rowsKept = time.Minute
	// rowsShare is how many times as long as counting took they are good for, which
	// bounds its share of a core whatever the size of the state.
	rowsShare = 300
)

// rowCount counts the records of the state.
type rowCount struct {
	state *storage.State
	desc  *prometheus.Desc

	mu    sync.Mutex
	due   time.Time // when to count again
	index uint64
	rows  map[string]int
}

// Describe implements prometheus.Collector.
func (c *rowCount) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *rowCount) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if index := c.state.Position().Index; c.rows == nil || index != c.index && time.Now().After(c.due) {
		begin, rows := time.Now(), map[string]int{}
		v := c.state.View()
		defer func() { _ = v.Close() }() // a view that only read
		for _, t := range state.Tables() {
			n, err := v.Count(t)
			if err != nil {
				ch <- prometheus.NewInvalidMetric(c.desc, err)
				return
			}
			rows[t.Name()] = n
		}
		c.rows, c.index, c.due = rows, index, time.Now().Add(max(rowsKept, rowsShare*time.Since(begin)))
	}
	for table, n := range c.rows {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), table)
	}
}

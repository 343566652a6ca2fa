package metrics

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	gometrics "github.com/hashicorp/go-metrics"
)

// shared is the sink of go-metrics, which is one for the whole process. It is
// installed with the first registry and stays.
var shared = sync.OnceValue(func() *bridge {
	b := &bridge{}
	b.nodes.Store(&map[string]*gossip{})
	conf := gometrics.DefaultConfig("")
	conf.EnableHostname, conf.EnableRuntimeMetrics, conf.HostName = false, false, ""
	// The only error of NewGlobal is for configurations that ask for more.
	_, _ = gometrics.NewGlobal(conf, b)
	return b
})

// bridge sends samples to the registry of the agent that their label "node"
// names. Samples without a known node, pool or name are dropped, so that what
// peers put into names cannot grow a registry.
type bridge struct {
	mu    sync.Mutex // held by those who replace nodes
	nodes atomic.Pointer[map[string]*gossip]
}

var _ gometrics.MetricSink = (*bridge)(nil)

func (b *bridge) claim(names []string, g *gossip) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(*b.nodes.Load())
	for _, name := range names {
		next[name] = g
	}
	b.nodes.Store(&next)
}

func (b *bridge) release(names []string, g *gossip) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(*b.nodes.Load())
	for _, name := range names {
		if next[name] == g {
			delete(next, name)
		}
	}
	b.nodes.Store(&next)
}

// find returns the series that a sample belongs to.
func (b *bridge) find(key []string, labels []gometrics.Label) (series, bool) {
	var node, pool string
	for _, l := range labels {
		switch l.Name {
		case "node":
			node = l.Value
		case "pool", "network":
			pool = l.Value
		}
	}
	g := (*b.nodes.Load())[node]
	if g == nil {
		return series{}, false
	}
	s, ok := g.series[seriesKey{strings.Join(key, "."), pool}]
	return s, ok
}

// IncrCounterWithLabels implements gometrics.MetricSink.
func (b *bridge) IncrCounterWithLabels(key []string, val float32, labels []gometrics.Label) {
	if s, ok := b.find(key, labels); ok && s.kind == counter && val >= 0 {
		s.add.Add(float64(val))
	}
}

// AddSampleWithLabels implements gometrics.MetricSink.
func (b *bridge) AddSampleWithLabels(key []string, val float32, labels []gometrics.Label) {
	s, ok := b.find(key, labels)
	switch {
	case !ok:
	case s.kind == seconds:
		s.observe.Observe(float64(val) / 1000)
	case s.kind == level:
		s.set.Set(float64(val))
	}
}

// SetGaugeWithLabels implements gometrics.MetricSink.
func (b *bridge) SetGaugeWithLabels(key []string, val float32, labels []gometrics.Label) {
	if s, ok := b.find(key, labels); ok && s.kind == level {
		s.set.Set(float64(val))
	}
}

// SetGauge implements gometrics.MetricSink: nobody can be named, so nothing is
// kept.
func (b *bridge) SetGauge([]string, float32) {}

// EmitKey implements gometrics.MetricSink: nothing is kept.
func (b *bridge) EmitKey([]string, float32) {}

// IncrCounter implements gometrics.MetricSink: nothing is kept.
func (b *bridge) IncrCounter([]string, float32) {}

// AddSample implements gometrics.MetricSink: nothing is kept.
func (b *bridge) AddSample([]string, float32) {}

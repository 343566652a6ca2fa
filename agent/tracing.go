package agent

import (
	"fmt"

	"github.com/legate-project/legate/internal/tracing"
)

// startTracing begins to send traces, if there is somewhere to send them.
func (a *Agent) startTracing() error {
	c := a.cfg.Telemetry
	t, err := tracing.New(tracing.Config{Endpoint: c.OTLPEndpoint, Headers: c.OTLPHeaders, Ratio: c.TraceSampleRatio,
		Datacenter: a.cfg.Datacenter, Node: a.cfg.NodeName, NodeID: a.id, Version: a.opts.Version, Server: a.cfg.Server, Log: a.log, Registerer: a.reg})
	if err != nil {
		return fmt.Errorf("set up tracing (telemetry): %w", err)
	}
	a.tracer = t
	return a.group.OnStop("tracing", t.Stop)
}

package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/conns"
	"github.com/legate-project/legate/internal/logging"
)

// streamWrite bounds how long a line of a stream may wait for its client: one
// that reads nothing for so long is gone.
const streamWrite = 30 * time.Second

// maxMonitors is how many of the agent's listeners to its log one client address
// may have: nobody keeps all others from looking.
const maxMonitors = logging.MaxListeners / 4

// agentMonitor sends the agent's log lines as they come, until the client goes
// or the agent stops.
func agentMonitor(x *exchange) error {
	name := x.get("loglevel")
	level, err := logging.ParseLevel(name)
	if err != nil {
		return refuse(http.StatusBadRequest, "Unknown log level: "+name)
	}
	asJSON, err := x.flag("logjson")
	if err != nil {
		return err
	}
	if x.s.cfg.Logs == nil {
		return refuse(http.StatusNotFound, "This agent has no log to listen to")
	}
	from := conns.AddrOf(x.r.RemoteAddr)
	if !x.s.monitors.Take(from) {
		return reasoned(http.StatusTooManyRequests, "busy", fmt.Sprintf("%d monitors of this agent are open from this address, the most that one may have: close one of them", maxMonitors))
	}
	defer x.s.monitors.Leave(from)
	lines, err := x.s.cfg.Logs.Listen(level, asJSON)
	if errors.Is(err, logging.ErrTooManyListeners) {
		return reasoned(http.StatusTooManyRequests, "busy", fmt.Sprintf("%d monitors of this agent are open, the most that it serves: try again when one was closed", logging.MaxListeners))
	}
	if err != nil {
		return err
	}
	defer lines.Close()
	x.waits = true
	x.w.Header()["Content-Type"] = plainText
	x.w.Header()["X-Content-Type-Options"] = noSniff
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
	x.stream(lines)
	return nil
}

// stream copies lines to the client. What cannot be sent has no reader any
// more.
func (x *exchange) stream(lines *logging.Listener) {
	out := http.NewResponseController(x.w)
	for out.Flush() == nil {
		var line []byte
		select {
		case <-x.ctx.Done():
			return
		case line = <-lines.Lines():
		}
		_ = out.SetWriteDeadline(time.Now().Add(streamWrite)) // where there are none, a dead client is noticed later
		if lost := lines.Lost(); lost != nil {
			line = append(line, lost...)
		}
		if _, err := x.w.Write(line); err != nil {
			return
		}
	}
}

// agentMetricsStream sends all metrics again and again.
func agentMetricsStream(x *exchange) error {
	x.waits = true
	return x.delegate(x.s.cfg.MetricsStream)
}

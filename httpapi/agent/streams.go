package agent

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/metrics"
)

// streamWrite bounds how long a line of a stream may wait for its client: one
// that reads nothing for so long is gone.
const streamWrite = 30 * time.Second

// maxMonitors is how many of the agent's listeners to its log one client address
// may have: nobody keeps all others from looking.
const maxMonitors = logging.MaxListeners / 4

// monitors are those who listen to the agent's log.
type monitors struct {
	logs   *logging.Tee // nil without one
	places *places      // by client address
}

// serve sends the agent's log lines as they come, until the client goes or the
// agent stops.
func (m *monitors) serve(x *rest.Exchange) error {
	name := x.Get("loglevel")
	level, err := logging.ParseLevel(name)
	if err != nil {
		return rest.Refuse(http.StatusBadRequest, "Unknown log level: "+name)
	}
	asJSON, err := x.Flag("logjson")
	if err != nil {
		return err
	}
	if m.logs == nil {
		return rest.Refuse(http.StatusNotFound, "This agent has no log to listen to")
	}
	from := rest.AddrOf(x.R.RemoteAddr)
	if !m.places.take(from) {
		return rest.Reasoned(http.StatusTooManyRequests, "busy", fmt.Sprintf("%d monitors of this agent are open from this address, the most that one may have: close one of them", maxMonitors))
	}
	defer m.places.leave(from)
	lines, err := m.logs.Listen(level, asJSON)
	if errors.Is(err, logging.ErrTooManyListeners) {
		return rest.Reasoned(http.StatusTooManyRequests, "busy", fmt.Sprintf("%d monitors of this agent are open, the most that it serves: try again when one was closed", logging.MaxListeners))
	}
	if err != nil {
		return err
	}
	defer lines.Close()
	x.Waits = true
	x.Plain()
	x.Begin(http.StatusOK)
	x.W.WriteHeader(http.StatusOK)
	stream(x, lines)
	return nil
}

// stream copies lines to the client. What cannot be sent has no reader any
// more.
func stream(x *rest.Exchange, lines *logging.Listener) {
	out := http.NewResponseController(x.W)
	for out.Flush() == nil {
		var line []byte
		select {
		case <-x.Ctx.Done():
			return
		case line = <-lines.Lines():
		}
		_ = out.SetWriteDeadline(time.Now().Add(streamWrite)) // where there are none, a dead client is noticed later
		if lost := lines.Lost(); lost != nil {
			line = append(line, lost...)
		}
		if _, err := x.W.Write(line); err != nil {
			return
		}
	}
}

// maxStreams is how many streams of metrics one client address may have, as with
// maxMonitors.
const maxStreams = metrics.MaxStreams / 4

// metricsStreams are those who follow the agent's metrics.
type metricsStreams struct {
	handler http.Handler // nil without metrics
	places  *places      // by client address
}

// serve sends all metrics again and again.
func (m *metricsStreams) serve(x *rest.Exchange) error {
	from := rest.AddrOf(x.R.RemoteAddr)
	if !m.places.take(from) {
		return rest.Reasoned(http.StatusTooManyRequests, "busy", fmt.Sprintf("%d streams of this agent's metrics are open from this address, the most that one may have: close one of them", maxStreams))
	}
	defer m.places.leave(from)
	x.Waits = true
	return x.Delegate(m.handler)
}

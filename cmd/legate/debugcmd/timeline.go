package debugcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// maxExposition bounds one text of all metrics, in bytes.
	maxExposition = 32 << 20
	// firstExposition and lastExposition are the metrics at begin and end, as
	// Prometheus reads them: the difference is what happened between.
	firstExposition, lastExposition = "metrics-first.prom", "metrics-last.prom"
	timelineFile                    = "timeline.json"
)

// errFull ends what grows when it has reached its bound.
var errFull = fmt.Errorf("no more than %d MB are kept of it", maxCapture>>20)

// moment is a line of timeline.json: how things stood.
type moment struct {
	At         time.Time
	Leader     string                    // its address; empty if there is none
	Stats      map[string]map[string]any `json:",omitempty"` // sections raft, serf_lan, serf_wan
	Federation []linkState               `json:",omitempty"` // as the agent's datacenter sees it
	Members    map[string]string         `json:",omitempty"` // status by name, of those that are not alive
	WAN        map[string]string         `json:",omitempty"`
	Unknown    []string                  `json:",omitempty"` // what could not be asked, and why
}

// linkState is of a datacenter what /v1/federation/status says.
type linkState struct {
	Datacenter, State  string
	Reason, Breaker    string `json:",omitempty"`
	Leader             string `json:",omitempty"`
	RoundTripMS, Loss  float64
	Servers, Answering int
	Views              int
	OldestAgeMS        float64
}

// moment adds how things stand to the timeline.
func (d *capture) moment(ctx context.Context) error {
	m := moment{At: d.now().UTC()}
	ask := func(ctx context.Context, kind, path string, to any) {
		if !d.wants(kind) || ctx.Err() != nil {
			return
		}
		if _, err := d.client.Raw().Query(path, to, (&api.QueryOptions{}).WithContext(ctx)); err != nil && ctx.Err() == nil {
			m.Unknown = append(m.Unknown, kind+": "+d.Call.Client.Explain(err))
		}
	}
	ask(ctx, "raft", "/v1/status/leader", &m.Leader)
	var self struct{ Stats map[string]map[string]any }
	ask(ctx, "agent", "/v1/agent/self", &self)
	m.Stats = map[string]map[string]any{}
	for _, section := range []string{"raft", "serf_lan", "serf_wan"} {
		if s, ok := self.Stats[section]; ok {
			m.Stats[section] = s
		}
	}
	var views []struct{ Links []linkState }
	// The others' views would be waited for in a cut, which is when it matters.
	ask(context.WithValue(ctx, queryKey{}, "local"), "federation", "/v1/federation/status", &views)
	if len(views) > 0 {
		m.Federation = views[0].Links
	}
	if d.wants("members") {
		for _, pool := range []struct {
			wan bool
			to  *map[string]string
		}{{false, &m.Members}, {true, &m.WAN}} {
			if list, err := d.members(ctx, pool.wan); err == nil {
				*pool.to = notAlive(list)
			}
		}
	}
	if ctx.Err() != nil {
		return nil // the end; what was asked is half
	}
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return d.add(timelineFile, line)
}

// notAlive is the status of the members that are not.
func notAlive(members []*api.AgentMember) map[string]string {
	names := map[int]string{2: "leaving", 3: "left", 4: "failed"}
	out := map[string]string{}
	for _, m := range members {
		if status, ok := names[m.Status]; ok {
			out[m.Name] = status
		}
	}
	return out
}

// add appends a line to a file, up to its bound.
func (d *capture) add(name string, line []byte) error {
	file, err := d.create(name)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size()+int64(len(line)) > maxCapture {
		err = errFull
	}
	if err == nil {
		_, err = file.Write(append(line, '\n'))
	}
	return errors.Join(err, file.Close())
}

// exposition keeps the first and the newest text of all metrics.
func (d *capture) exposition(ctx context.Context, n int) error {
	text := &textAnswer{}
	ctx = context.WithValue(ctx, textKey{}, text)
	if _, err := d.client.Raw().Query("/v1/agent/metrics", new(any), (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return err
	}
	if text.text == nil {
		return errors.New("they are not to be had as text over a unix socket")
	}
	name := lastExposition
	if n == 0 {
		name = firstExposition
	}
	return os.WriteFile(filepath.Join(d.output, name), text.text, 0o600)
}

// textKey is where a context has the textAnswer that is asked for.
type textKey struct{}

// textAnswer is an answer that is not JSON, which the client's library cannot
// return.
type textAnswer struct{ text []byte }

// queryKey is where a context has a parameter, without a value, that the client's
// library has no option for.
type queryKey struct{}

// texts asks for metrics as text where a context has a textAnswer, and adds the
// parameter that it has.
type texts struct{ next http.RoundTripper }

var _ http.RoundTripper = texts{}

// RoundTrip implements http.RoundTripper.
func (t texts) RoundTrip(r *http.Request) (*http.Response, error) {
	if parameter, ok := r.Context().Value(queryKey{}).(string); ok {
		r = r.Clone(r.Context())
		q := r.URL.Query()
		q.Set(parameter, "")
		r.URL.RawQuery = q.Encode()
	}
	answer, ok := r.Context().Value(textKey{}).(*textAnswer)
	if !ok {
		return t.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	q := r.URL.Query()
	q.Set("format", "prometheus")
	r.URL.RawQuery = q.Encode()
	resp, err := t.next.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	answer.text, err = io.ReadAll(io.LimitReader(resp.Body, maxExposition))
	err = errors.Join(err, resp.Body.Close())
	resp.Body = io.NopCloser(strings.NewReader("null"))
	return resp, err
}

package doctorcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// askTimeout is how long one answer may take, lookTimeout the whole.
	askTimeout  = 5 * time.Second
	lookTimeout = 15 * time.Second
	// maxAnswer bounds one answer, in bytes.
	maxAnswer = 64 << 20
	unixStart = "unix://"
)

// asker asks an agent over HTTP. The official client is not enough: it returns JSON alone.
type asker struct {
	http        *http.Client
	base, token string
	local       bool // the agent runs on this machine
}

// newAsker returns one for the agent that flags and environment name.
func newAsker(c *api.Config) (*asker, error) {
	a := &asker{token: c.Token}
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
		if t := strings.TrimSpace(string(b)); t != "" {
			a.token = t
		}
	}
	scheme, host, ok := strings.Cut(c.Address, "://")
	if !ok {
		scheme, host = c.Scheme, c.Address
	}
	if path, isUnix := strings.CutPrefix(c.Address, unixStart); isUnix {
		scheme, host, a.local = "http", "localhost", true
		c.Transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	a.base = scheme + "://" + strings.TrimSuffix(host, "/")
	u, err := url.Parse(a.base)
	if err != nil {
		return nil, fmt.Errorf("read the address of the agent: %w", err)
	}
	a.local = a.local || isLocal(u.Hostname())
	if a.http, err = api.NewHttpClient(c.Transport, c.TLSConfig); err != nil {
		return nil, fmt.Errorf("set up the connection to the agent: %w", err)
	}
	return a, nil
}

// isLocal reports whether an address is one of this machine.
func isLocal(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// answer is what the agent said.
type answer struct {
	status int
	body   []byte
	hidden bool // there is more, which the token may not see
}

// get asks for a path. It is an error if there is no answer; any status is one.
func (a *asker) get(ctx context.Context, path string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if a.token != "" {
		r.Header.Set("X-Consul-Token", a.token)
	}
	resp, err := a.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{resp.StatusCode, body, resp.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true"}, err
}

// question is what one source is filled with.
type question struct {
	from  source
	path  string
	right string // that it takes; for lists, that they are filtered by
	to    any    // of JSON; *samples for metrics
}

// put asks and returns why there is no answer, "" if there is one.
func (a *asker) put(ctx context.Context, q question) string {
	got, err := a.get(ctx, q.path)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the agent did not answer %s within %s", q.path, askTimeout)
	case err != nil:
		return fmt.Sprintf("the agent did not answer %s: %v", q.path, err)
	case got.status == http.StatusForbidden && q.right != "":
		return "the token lacks " + q.right
	case got.status == http.StatusNotFound:
		return fmt.Sprintf("the agent does not know %s: it is of an earlier version", q.path)
	case got.status != http.StatusOK:
		return fmt.Sprintf("the agent answered %d to %s: %.200s", got.status, q.path, strings.TrimSpace(string(got.body)))
	}
	if m, ok := q.to.(*samples); ok {
		*m = parseSamples(string(got.body))
		return ""
	}
	if err := json.Unmarshal(got.body, q.to); err != nil {
		return fmt.Sprintf("what the agent answered to %s is not understood: %v", q.path, err)
	}
	if got.hidden {
		return "the token lacks " + q.right
	}
	return ""
}

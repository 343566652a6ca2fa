package several

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"
)

// headerDatacenters says what became of asking each datacenter.
const headerDatacenters = "X-Legate-Datacenters"

// Tell has clients that are made of the configuration tell of each datacenter that
// did not answer, when that is news: what comes from it is old, or missing. It
// does nothing for a Unix socket, which the client connects to in its own way.
func Tell(c *api.Config, tell func(text string)) error {
	client, err := api.NewHttpClient(c.Transport, c.TLSConfig)
	if err != nil {
		return fmt.Errorf("set up the connection to the agent: %w", err)
	}
	client.Transport = &listener{next: client.Transport, tell: tell, said: map[string]string{}}
	c.HttpClient = client
	return nil
}

// listener is an http.RoundTripper that reads what answers say of datacenters.
type listener struct {
	next http.RoundTripper
	tell func(string)

	mu   sync.Mutex
	said map[string]string // by datacenter
}

// RoundTrip implements http.RoundTripper.
func (l *listener) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for one := range strings.SplitSeq(answer.Header.Get(headerDatacenters), ", ") {
		dc, state, _ := strings.Cut(one, ";")
		state, age, _ := strings.Cut(state, ";age=")
		if l.said[dc] == state {
			continue
		}
		l.said[dc] = state
		switch state {
		case "stale":
			l.tell(dc + " cannot be reached: what is shown of it was known " + age + " s ago")
		case "unreachable":
			l.tell(dc + " cannot be reached: what it has is not shown")
		}
	}
	return answer, nil
}

package command

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/op"
)

// What answers say of datacenters: what became of asking each, and of an error which
// one it is about and what is wrong with it.
const (
	headerDatacenters = "X-Legate-Datacenters"
	headerDatacenter  = "X-Legate-Datacenter"
	headerReason      = "X-Legate-Reason"
)

// listenToOutcomes has clients that are made of the configuration tell of each datacenter that
// did not answer, when that is news: what comes from it is old, or missing. Errors
// about a datacenter say what is wrong with it.
func listenToOutcomes(c *api.Config, tell func(text string)) error {
	dialSocket(c)
	client, err := api.NewHttpClient(c.Transport, c.TLSConfig)
	if err != nil {
		return fmt.Errorf("set up the connection to the agent: %w", err)
	}
	client.Transport = &outcomeListener{next: client.Transport, tell: tell, said: map[string]string{}}
	c.HttpClient = client
	return nil
}

// outcomeListener is an http.RoundTripper that reads what answers say of datacenters.
type outcomeListener struct {
	next http.RoundTripper
	tell func(string)

	mu   sync.Mutex
	said map[string]string // by datacenter
}

// RoundTrip implements http.RoundTripper.
func (l *outcomeListener) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if why := wrong(answer.Header.Get(headerDatacenter), answer.Header.Get(headerReason)); why != "" && answer.StatusCode >= 400 {
		answer.Body = &suffixed{Reader: io.MultiReader(answer.Body, strings.NewReader(": "+why)), Closer: answer.Body}
		answer.ContentLength = -1
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

// suffixed is a body with something behind it.
type suffixed struct {
	io.Reader
	io.Closer
}

// wrong says what an error about a datacenter means; "" if it is about none.
func wrong(dc, reason string) string {
	if dc == "" {
		return ""
	}
	switch reason {
	case op.CodeUnknownDatacenter.String():
		return "no datacenter " + dc + " is known here (legate federation list shows those that are)"
	case op.CodeUnreachableDatacenter.String():
		return "none of the servers of " + dc + " can be reached now (legate federation status shows why)"
	case op.CodeLeftDatacenter.String():
		return dc + " has left the federation"
	case op.CodeRemovedDatacenter.String():
		return dc + " was removed from the federation"
	case op.CodeNoLeader.String():
		return dc + " can be reached, but has no leader now"
	}
	return ""
}

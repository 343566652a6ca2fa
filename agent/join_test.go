package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/gossip"
)

// An agent that ends waits for no cloud: it would take the time that the rest of it
// needs to end well.
func TestAnAgentThatEndsWaitsForNoCloud(t *testing.T) {
	asked, release := make(chan struct{}, 100), make(chan struct{})
	cloud := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	defer cloud.Close()
	defer close(release)
	o := run(t, loopback(81), t.TempDir(), `retry_join = ["provider=aws region=eu endpoint=`+cloud.URL+` access_key_id=a secret_access_key=topsecret tag_key=k tag_value=v"]`)
	<-asked
	o.stop(t) // fails if something is still running
	if strings.Contains(o.log.String(), "topsecret") {
		t.Error("a secret is in the log")
	}
}

// answering is a finder that counts its questions.
type answering struct {
	addrs []string
	err   error
	asked int
}

func (a *answering) Addrs(context.Context) ([]string, error) {
	a.asked++
	return a.addrs, a.err
}

// TestWhoIsJoined: one row is one try, with what it comes to.
func TestWhoIsJoined(t *testing.T) {
	down := errors.New("403")
	for name, c := range map[string]struct {
		plain   []string
		cloud   answering
		members int // after it
		n       int
		asked   int
		err     error
	}{
		"addresses need no cloud":               {plain: []string{"up"}, cloud: answering{err: down}, members: 2, n: 1},
		"a cloud helps where addresses do not":  {plain: []string{"away"}, cloud: answering{addrs: []string{"up"}}, members: 2, n: 1, asked: 1, err: errAway},
		"the others of a cloud":                 {cloud: answering{addrs: []string{"own", "up", "up"}}, members: 3, n: 2, asked: 1},
		"only this node":                        {cloud: answering{addrs: []string{"own"}}, members: 1, asked: 1, err: errOnlyThisNode},
		"only this node, at an unknown address": {cloud: answering{addrs: []string{"up"}}, members: 1, asked: 1, err: errOnlyThisNode},
		"a cloud that fails":                    {cloud: answering{err: down}, members: 1, asked: 1, err: down},
		"one that fails, another that does not": {cloud: answering{addrs: []string{"up"}, err: down}, members: 2, n: 1, asked: 1, err: down},
		"addresses that fail count":             {plain: []string{"away"}, cloud: answering{addrs: []string{"own"}}, members: 1, asked: 1, err: errAway},
	} {
		j := joiner{plain: c.plain, find: &c.cloud, own: []string{"own"}, members: func() []gossip.Member { return make([]gossip.Member, c.members) },
			join: func(addrs []string) (n int, err error) {
				for _, a := range addrs {
					if a == "away" {
						err = errAway
					} else {
						n++
					}
				}
				return n, err
			}}
		n, err := j.try(t.Context())
		if n != c.n || c.cloud.asked != c.asked || !errors.Is(err, c.err) || err != nil && c.err == nil {
			t.Errorf("%s: joined %d, asked %d, %v; want %d, %d, %v", name, n, c.cloud.asked, err, c.n, c.asked, c.err)
		}
		if only := errors.Is(err, errOnlyThisNode); only != (c.err == errOnlyThisNode) {
			t.Errorf("%s: counts as no try: %t", name, only)
		}
	}
}

var errAway = errors.New("away")

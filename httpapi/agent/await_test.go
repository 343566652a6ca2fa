package agent

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/agent/local"
)

// unsynced is an agent's state whose catalog never takes anything: who waits for it
// waits until his request ends.
type unsynced struct {
	*local.State
	waits, ended chan string // service|check
}

// AwaitSync implements agent.Local.
func (u unsynced) AwaitSync(ctx context.Context, service, checkID string) {
	u.waits <- service + "|" + checkID
	<-ctx.Done()
	u.ended <- service + "|" + checkID
}

func startUnsynced(t *testing.T) (*world, unsynced) {
	t.Helper()
	u := unsynced{State: start(t).local, waits: make(chan string, 1), ended: make(chan string, 1)}
	return start(t, func(a *API) { a.Local = u }), u
}

// What a client changes of its agent is answered when the catalog has it, or when the
// request ends. One row is a change with what is waited for; what is refused is not.
func TestChangesOfTheAgentAreAwaited(t *testing.T) {
	w, u := startUnsynced(t)
	for _, c := range []struct{ target, body, want string }{
		{"service/register", `{"ID":"w1","Name":"web","Check":{"CheckID":"c1","TTL":"30s"}}`, "w1|"},
		{"service/register", `{"ID":"w1","Name":"web","Check":{"CheckID":"c1","TTL":"30s"}}`, "w1|"},
		{"service/register", `{"Name":"db"}`, "db|"},
		{"service/register?replace-existing-checks", `{"Name":"db"}`, "db|"},
		{"service/register", `{"Name":""}`, ""},
		{"service/maintenance/w1?enable=true", "", "w1|"},
		{"service/maintenance/none?enable=true", "", ""},
		{"maintenance?enable=true", "", "|"},
		{"check/register", `{"Name":"disk","TTL":"30s"}`, "|disk"},
		{"check/register", `{"ID":"d2","Name":"disk","TTL":"30s"}`, "|d2"},
		{"check/register", `{"Name":"x","TTL":"30s","ServiceID":"none"}`, ""},
		{"check/pass/c1", "", "|c1"},
		{"check/warn/c1", "", "|c1"},
		{"check/fail/c1", "", "|c1"},
		{"check/update/c1", `{"Status":"passing"}`, "|c1"},
		{"check/pass/none", "", ""},
		{"check/deregister/d2", "", "|d2"},
		{"check/deregister/d2", "", ""},
		{"service/deregister/w1", "", "w1|"},
		{"service/deregister/w1", "", ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan int, 1)
		go func() {
			req := httptest.NewRequestWithContext(ctx, "PUT", "/v1/agent/"+c.target, strings.NewReader(c.body))
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, req)
			answer <- rec.Code
		}()
		if c.want == "" {
			if code := <-answer; code < 400 || len(u.waits) != 0 {
				t.Errorf("%s %s: %d, waited %d times; want a refusal at once", c.target, c.body, code, len(u.waits))
			}
			cancel()
			continue
		}
		select {
		case got := <-u.waits:
			if got != c.want || len(answer) != 0 {
				t.Errorf("%s %s: waits for %q, want %q; answered: %d", c.target, c.body, got, c.want, len(answer))
			}
		case code := <-answer:
			t.Errorf("%s %s: answered %d without a wait", c.target, c.body, code)
		}
		cancel()
		if code := <-answer; code != http.StatusOK {
			t.Errorf("%s %s: %d when its wait ended", c.target, c.body, code)
		}
		<-u.ended
	}
}

// A wait for the catalog ends with the connection of the client that waits.
func TestAWaitForTheCatalogEndsWithItsClient(t *testing.T) {
	w, u := startUnsynced(t)
	url := w.Listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "PUT", url+"/v1/agent/service/register", strings.NewReader(`{"Name":"web"}`))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	<-u.waits
	cancel()
	if err := <-gone; err == nil {
		t.Error("the client was answered")
	}
	select {
	case <-u.ended:
	case <-time.After(10 * time.Second):
		t.Error("the wait goes on although its client went")
	}
	if all := w.Do("GET", "/v1/agent/services", "").Body.String(); !strings.Contains(all, `"web"`) {
		t.Errorf("the registration is lost: %s", all)
	}
}

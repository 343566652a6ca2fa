package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/legate-project/legate/agent/ready"
)

// readiness is what a load balancer sees.
func (o *one) readiness(t *testing.T, query string) (code int, s ready.State) {
	t.Helper()
	answer, err := http.Get(o.url + "/v1/agent/ready" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, s
}

func TestLoadBalancersSeeWhetherAnAgentIsReady(t *testing.T) {
	o := run(t, loopback(171), t.TempDir(), "")
	eventually(t, "the server is ready", func() bool {
		code, s := o.readiness(t, "")
		return code == 200 && s.Status == ready.Ready && s.LastContactMS != nil
	})
	if code, s := o.readiness(t, "?max_stale=0s"); code != 200 {
		t.Errorf("the leader is %d, %+v", code, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := o.Alive(ctx); err != nil {
		t.Error(err)
	}
	if err := o.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, s := o.readiness(t, "?max_stale=1000h"); code != 503 || s.Status != ready.Leaving {
		t.Errorf("a server that left is %d, %+v", code, s)
	}
}

// A server that waits for others has no leader and lives, and so does a client agent
// without a server. Neither does when it has stopped.
func TestAgentsThatWaitForOthersAreAliveAndNotReady(t *testing.T) {
	for i, hcl := range []string{"server = true bootstrap_expect = 3", "server = false"} {
		o := begin(t, loopback(172+i), t.TempDir(), hcl)
		if code, s := o.readiness(t, ""); code != 503 || s.Status != ready.Starting {
			t.Errorf("%s: %d, %+v", hcl, code, s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := o.Alive(ctx); err != nil {
			t.Errorf("%s: %v", hcl, err)
		}
		if err := o.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := o.Ready(t.Context(), nil); s.Status != ready.Leaving {
			t.Errorf("%s: after its end it is %+v", hcl, s)
		}
		ended, over := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer over()
		if err := o.Alive(ended); err == nil {
			t.Errorf("%s: it lives after its end", hcl)
		}
	}
}

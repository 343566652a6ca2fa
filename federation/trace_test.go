package federation

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

// A read that is sent to a second server shows both, that the first was given up, and
// itself as one that was answered.
func TestSecondServerIsTraced(t *testing.T) {
	c := tracingtest.Start(t)
	tracer, err := tracing.New(tracing.Config{Endpoint: c.URL, Ratio: 1, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	background, root := tracer.Root(context.Background(), "root", tracing.Origin{})
	synctest.Test(t, func(t *testing.T) {
		late := ""
		s := &servers{}
		s.do = func(ctx context.Context, id string) ([]byte, error) {
			s.mu.Lock()
			if late == "" {
				late = id
			}
			hang := id == late
			s.mu.Unlock()
			if hang {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return answer(t, id), nil
		}
		if _, err := get(background, router(t, s, peers(2, gossip.Alive)), "dc2"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	})
	root.End()
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	calls := map[string]tracingtest.Span{} // by why they failed
	var whole tracingtest.Span
	for _, s := range c.Spans("") {
		switch s.Name {
		case "federation":
			whole = s
		case "kv.get":
			calls[s.Failed] = s
		}
	}
	if whole.Failed != "" || whole.Attributes["legate.datacenter"] != "dc2" || len(whole.Events) != 1 {
		t.Errorf("%+v", whole)
	}
	if len(calls) != 2 || calls[""].Parent != whole.ID || calls["cancelled"].Parent != whole.ID || calls[""].Attributes["legate.server"] == calls["cancelled"].Attributes["legate.server"] {
		t.Errorf("%+v", calls)
	}
}

package leader

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl/rules"
)

// harness are the duties of a server that is asked like one: what is read is
// read from its state.
type harness struct {
	*Duties
	group *servertest.Group
	pool  *servertest.Pool
}

func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	cfg := Config{Datacenter: "dc1", NodeName: "s1", NodeID: servertest.UID("1"), State: servertest.OpenState(t), Machine: state.New(),
		CoordinatePeriod: 5 * time.Second, ReconcilePeriod: time.Minute, TombstoneTTL: 15 * time.Minute, TombstonePeriod: 30 * time.Second,
		Transport: servertest.Silence{}, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		Authorizer: func(string) (rules.Authorizer, error) { return rules.AllowAll(), nil }}
	if change != nil {
		change(&cfg)
	}
	return &harness{Duties: New(cfg), group: servertest.NewGroup(cfg.State, cfg.Machine), pool: servertest.NewPool()}
}

func (h *harness) start(t testing.TB) {
	t.Helper()
	if err := h.Start(h.group, h.pool); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Do implements op.Caller.
func (h *harness) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if _, ok := call.Operation.(op.Preparable); ok {
		return h.Self().Do(ctx, call)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	var result any
	if o, ok := call.Operation.(op.Queryable); ok {
		v := h.cfg.State.View()
		result, err = o.Run(v, request)
		err = errors.Join(err, v.Close())
		return op.NewReply(op.Meta{Index: v.Index()}, result), err
	}
	for _, handler := range h.Handlers() {
		if handler.Operation.OpName() != call.Operation.OpName() {
			continue
		}
		if result, err = handler.Answer(ctx, call.Header, request); err != nil {
			return nil, err
		}
	}
	return op.NewReply(op.Meta{}, result), nil
}

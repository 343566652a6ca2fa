package login

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/leader"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// harness answers who logs in to dc1, with a real leader's duties behind it and a clock
// that the test moves.
type harness struct {
	*Logins
	t     testing.TB
	self  op.Caller
	state *storage.State
	log   *lines

	mu  sync.Mutex
	now time.Time
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// Elsewhere implements Server: there is no other datacenter.
func (h *harness) Elsewhere(context.Context, *op.Call, string) (*op.Reply, error) {
	h.t.Error("another datacenter was asked")
	return nil, op.ErrStopping
}

// Home implements Server.
func (h *harness) Home(storage.Reader) (string, error) { return "dc1", nil }

// Self implements Server.
func (h *harness) Self() op.Caller { return h.self }

func newHarness(t testing.TB) *harness {
	t.Helper()
	h := &harness{t: t, state: servertest.OpenState(t), now: time.Now(), log: &lines{}}
	machine := state.New()
	d := leader.New(leader.Config{Datacenter: "dc1", NodeName: "s1", NodeID: servertest.UID("1"), State: h.state, Machine: machine,
		CoordinatePeriod: time.Minute, ReconcilePeriod: time.Minute, TombstoneTTL: time.Minute, TombstonePeriod: time.Minute,
		Transport: servertest.Silence{}, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		Authorizer: func(string) (rules.Authorizer, error) { return rules.AllowAll(), nil }})
	if err := d.Start(servertest.NewGroup(h.state, machine), servertest.NewPool()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	h.self = d.Self()
	var err error
	h.Logins, err = New(h, Config{Enabled: true, Datacenter: "dc1", State: h.state, Context: t.Context(), Now: h.clock,
		Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *harness) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

type object = map[string]any

// method makes a method, or changes one.
func (h *harness) method(m acl.Method, config object) error {
	h.t.Helper()
	var err error
	if m.Config, err = json.Marshal(config); err != nil {
		h.t.Fatal(err)
	}
	v := h.state.View()
	defer v.Close()
	old, err := acl.FindMethod(v, m.Name)
	if err != nil {
		h.t.Fatal(err)
	}
	_, _, err = acl.SetMethod.Call(h.t.Context(), h.self, op.Header{}, &acl.SetMethodRequest{Create: old == nil, Method: m})
	return err
}

// must ends the test if something could not be done.
func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// bind makes a binding rule.
func (h *harness) bind(b acl.Binding) error {
	h.t.Helper()
	_, _, err := acl.SetBinding.Call(h.t.Context(), h.self, op.Header{}, &acl.SetBindingRequest{Create: true, Binding: b})
	return err
}

func (h *harness) role(name string) string {
	h.t.Helper()
	r, _, err := acl.SetRole.Call(h.t.Context(), h.self, op.Header{}, &acl.SetRoleRequest{Create: true, Role: acl.Role{Name: name}})
	h.must(err)
	return r.ID
}

func (h *harness) policy(name string) string {
	h.t.Helper()
	p, _, err := acl.SetPolicy.Call(h.t.Context(), h.self, op.Header{}, &acl.SetPolicyRequest{Create: true, Policy: acl.Policy{Name: name}})
	h.must(err)
	return p.ID
}

// try logs in.
func (h *harness) try(method, bearer string) (*acl.Token, error) {
	h.t.Helper()
	return h.answer(h.t.Context(), op.Header{}, &acl.LoginRequest{Method: method, Bearer: bearer})
}

// refuses reports an error unless logging in fails with the code.
func (h *harness) refuses(what, method, bearer string, code op.Code) {
	h.t.Helper()
	if _, err := h.try(method, bearer); op.CodeOf(err) != code {
		h.t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// accepts reports an error unless logging in succeeds.
func (h *harness) accepts(what, method, bearer string) {
	h.t.Helper()
	if _, err := h.try(method, bearer); err != nil {
		h.t.Errorf("%s: %v; %s", what, err, h.log)
	}
}

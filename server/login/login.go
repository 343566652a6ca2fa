// Package login answers who logs in: it has the credential verified as the auth method
// says, finds the binding rules that are for who shows it, and has a token made.
//
// It promises that a credential and a secret of a configuration are in no log, error or
// metric; that who is refused learns no more than that; and that somebody else's server
// who hangs costs the one who logs in ten seconds, and nobody else anything. It runs on
// the leader and keeps nothing but keys of issuers.
package login

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/method"
	"github.com/legate-project/legate/storage"
)

const (
	// verifyTimeout is how long verifying a credential may take in all.
	verifyTimeout = 10 * time.Second
	// maxLogins bounds those who log in at the same time: anybody may try.
	maxLogins = 512
	// maxAtOnce bounds those who are verified by one method at the same time; others wait.
	maxAtOnce = 64
)

// Server is what logging in needs of the server that it runs on.
type Server interface {
	// Home names the datacenter where global tokens are made.
	Home(r storage.Reader) (string, error)
	// Elsewhere hands a call to the home.
	Elsewhere(ctx context.Context, call *op.Call, home string) (*op.Reply, error)
	// Self commits for the datacenter itself.
	Self() op.Caller
}

// Config says where tokens are made.
type Config struct {
	// Enabled is whether access is controlled.
	Enabled bool
	// Datacenter of this server.
	Datacenter string
	State      *storage.State
	// Context ends with the server.
	Context    context.Context
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the time by which credentials are judged; nil for that of the clock.
	Now func() time.Time
}

// Logins answers who logs in. It is safe for concurrent use.
type Logins struct {
	cfg       Config
	server    Server
	log       *slog.Logger
	metrics   *metrics
	progress  *limit.Limit
	verifiers *verifiers
}

// New returns what answers who logs in.
func New(s Server, cfg Config) (*Logins, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Logins{cfg: cfg, server: s, log: cfg.Log, metrics: newMetrics(cfg.Registerer), progress: limit.New(maxLogins)}
	var err error
	l.verifiers, err = newVerifiers(source{ends: cfg.Context, now: cfg.Now, log: cfg.Log})
	return l, err
}

// Handler answers acl.Login, on the leader.
func (l *Logins) Handler() op.Handler {
	h := acl.Login.Handle(l.answer)
	h.LeaderOnly = true
	return h
}

func (l *Logins) answer(ctx context.Context, h op.Header, r *acl.LoginRequest) (*acl.Token, error) {
	t, err := l.login(ctx, h, r)
	l.metrics.count(err)
	return t, err
}

func (l *Logins) login(ctx context.Context, h op.Header, r *acl.LoginRequest) (*acl.Token, error) {
	if !l.cfg.Enabled {
		return nil, acl.ErrDisabled
	}
	description, err := describe(r)
	if err != nil {
		return nil, err
	}
	if !l.progress.TryAcquire() {
		return nil, op.Errorf(op.CodeBusy, "%d are logging in at this time, the limit", l.progress.Max())
	}
	defer l.progress.Release()
	m, home, err := l.method(r.Method)
	if err != nil {
		return nil, err
	}
	if home != l.cfg.Datacenter {
		return l.elsewhere(ctx, op.NewCall(&acl.Login, op.Header{Token: h.Token, Hops: h.Hops}, r), home)
	}
	id, err := l.verify(ctx, m, r.Bearer)
	if err != nil {
		return nil, err
	}
	request, err := l.token(m, id, description)
	if err != nil {
		return nil, err
	}
	t, _, err := acl.Mint.Call(ctx, l.server.Self(), op.Header{}, request)
	return t, err
}

// describe checks the request and says what the token's description is.
func describe(r *acl.LoginRequest) (string, error) {
	switch {
	case r.Method == "":
		return "", op.Errorf(op.CodeInvalid, "Invalid Login request: no auth method is given")
	case r.Bearer == "":
		return "", op.Errorf(op.CodeInvalid, "Invalid Login request: no bearer token is given")
	case len(r.Bearer) > acl.MaxBearer:
		return "", op.Errorf(op.CodeTooLarge, "Invalid Login request: the bearer token is longer than %d bytes", acl.MaxBearer)
	}
	const plain = "token created via login"
	if len(r.Meta) == 0 {
		return plain, nil
	}
	meta, err := json.Marshal(r.Meta)
	if err != nil {
		return "", err
	}
	if len(meta) > acl.MaxLoginMeta {
		return "", op.Errorf(op.CodeTooLarge, "Invalid Login request: Meta is longer than %d bytes", acl.MaxLoginMeta)
	}
	return plain + ": " + string(meta), nil
}

// method finds a method, and where its tokens are made.
func (l *Logins) method(name string) (*acl.Method, string, error) {
	v := l.cfg.State.View()
	home := l.cfg.Datacenter
	m, err := acl.FindMethod(v, name)
	if err == nil && m != nil && m.TokenLocality == acl.LocalityGlobal {
		home, err = l.server.Home(v)
	}
	if err = errors.Join(err, v.Close()); err != nil {
		return nil, "", err
	}
	if m == nil {
		return nil, "", op.Errorf(op.CodeDenied, "ACL not found: auth method %.128q not found", name)
	}
	return m, home, nil
}

// elsewhere hands the call to the home.
func (l *Logins) elsewhere(ctx context.Context, call *op.Call, home string) (*acl.Token, error) {
	reply, err := l.server.Elsewhere(ctx, call, home)
	if err != nil {
		return nil, err
	}
	res, err := reply.Result(&acl.Login)
	if err != nil {
		return nil, err
	}
	t, _ := res.(*acl.Token)
	return t, nil
}

// refusal says why a credential is not accepted: in the log, and to nobody else.
type refusal struct{ why string }

// Error implements error.
func (r *refusal) Error() string { return r.why }

// verify says who shows the bearer.
func (l *Logins) verify(ctx context.Context, m *acl.Method, bearer string) (*method.Identity, error) {
	e, err := l.verifiers.of(m)
	if err != nil {
		l.log.Warn("nobody can log in by an auth method", "method", m.Name, "error", err)
		return nil, op.Errorf(op.CodeDenied, "Permission denied: nobody can log in by the auth method %q: its configuration is not understood", m.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	case <-ctx.Done():
		return nil, op.Errorf(op.CodeBusy, "%d credentials are verified for the auth method %q at this time, the limit", maxAtOnce, m.Name)
	}
	id, err := e.verifier.verify(ctx, bearer)
	var no *refusal
	switch {
	case errors.As(err, &no):
		l.log.Debug("a credential was refused", "method", m.Name, "reason", no.why)
		return nil, op.Errorf(op.CodeDenied, "Permission denied: the auth method %q does not accept this credential", m.Name)
	case err != nil && ctx.Err() != nil:
		return nil, op.Errorf(op.CodeTimeout, "the credential could not be verified in time: who vouches for those of the auth method %q does not answer", m.Name)
	case err != nil:
		l.log.Warn("credentials cannot be verified", "method", m.Name, "error", err)
		return nil, op.Errorf(op.CodeInternal, "the credential cannot be verified: who vouches for those of the auth method %q does not answer as expected", m.Name)
	}
	return id, nil
}

// token is what who was verified by a method gets, by the rules of now.
func (l *Logins) token(m *acl.Method, id *method.Identity, description string) (*acl.SetTokenRequest, error) {
	v := l.cfg.State.View()
	t, err := l.granted(v, m, id)
	if err = errors.Join(err, v.Close()); err != nil {
		return nil, err
	}
	t.Description = description
	return acl.Granted(op.Leader{Now: l.cfg.Now(), NewID: uuid.NewString}, m, t, id)
}

// granted is what the rules of a method give to somebody.
func (l *Logins) granted(r storage.Reader, m *acl.Method, id *method.Identity) (*acl.Token, error) {
	now, err := acl.FindMethod(r, m.Name)
	switch {
	case err != nil:
		return nil, err
	case now == nil || now.CreateIndex != m.CreateIndex || now.ModifyIndex != m.ModifyIndex:
		return nil, op.Errorf(op.CodeConflict, "the auth method %q was changed meanwhile: log in again", m.Name)
	}
	list, err := acl.BindingsOf(r, m.Name)
	if err != nil {
		return nil, err
	}
	t := &acl.Token{}
	some := false
	for i := range list {
		b := &list[i]
		if !strings.EqualFold(b.AuthMethod, m.Name) { // an index has prefixes
			continue
		}
		if !l.chosen(b, id) {
			continue
		}
		granted, err := b.Grant(t, id, r, l.cfg.Datacenter)
		switch {
		case op.CodeOf(err) == op.CodeInvalid:
			l.log.Debug("a binding rule makes no name for who logs in", "method", m.Name, "rule", b.ID, "error", err)
			return nil, op.Errorf(op.CodeDenied, "Permission denied")
		case err != nil:
			return nil, err
		}
		some = some || granted
	}
	if !some {
		l.log.Debug("no binding rule is for who logs in", "method", m.Name)
		return nil, op.Errorf(op.CodeDenied, "Permission denied")
	}
	return t, nil
}

// chosen reports whether a rule is for somebody.
func (l *Logins) chosen(b *acl.Binding, id *method.Identity) bool {
	chosen, err := b.Chooses(id)
	if err != nil { // its method has changed since it was written
		l.log.Warn("the selector of a binding rule cannot be evaluated, it is for nobody", "method", b.AuthMethod, "rule", b.ID, "error", err)
	}
	return chosen && err == nil
}

package login

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/method"
)

// maxVerifiers bounds the methods whose keys are kept.
const maxVerifiers = 256

// verifier knows who shows a credential. An error is a *refusal if the credential is
// not accepted, and another one if that could not be found out.
type verifier interface {
	verify(ctx context.Context, bearer string) (*method.Identity, error)
}

var (
	_ verifier = (*jwtVerifier)(nil)
	_ verifier = (*clusterVerifier)(nil)
)

// entry is the verifier of a method as long as its configuration is the same.
type entry struct {
	kind     string
	config   []byte
	verifier verifier
	places   chan struct{} // one for each who is verified
}

// source is what verifiers fetch by.
type source struct {
	ends context.Context // with the server
	now  func() time.Time
	log  *slog.Logger
}

// verifiers keeps the verifiers of methods. It never waits for a network.
type verifiers struct {
	source source
	mu     sync.Mutex // guards that one is made for each method
	kept   *lru.Cache[string, *entry]
}

func newVerifiers(s source) (*verifiers, error) {
	kept, err := lru.New[string, *entry](maxVerifiers)
	if err != nil {
		return nil, fmt.Errorf("make room for auth methods: %w", err)
	}
	return &verifiers{source: s, kept: kept}, nil
}

// of returns the verifier of a method: that which is kept, unless the configuration is
// another one now.
func (v *verifiers) of(m *acl.Method) (*entry, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := strings.ToLower(m.Name)
	if e, ok := v.kept.Get(name); ok && e.kind == m.Type && bytes.Equal(e.config, m.Config) {
		return e, nil
	}
	v.kept.Remove(name)
	config, err := method.Parse(m.Type, m.Config)
	if err != nil {
		return nil, err
	}
	e := &entry{kind: m.Type, config: m.Config, places: make(chan struct{}, maxAtOnce)}
	switch c := config.(type) {
	case *method.JWTConfig:
		e.verifier = newJWTVerifier(c, v.source)
	case *method.KubernetesConfig:
		e.verifier = newClusterVerifier(c)
	default:
		return nil, fmt.Errorf("nothing verifies credentials of the type %q", m.Type)
	}
	v.kept.Add(name, e)
	return e, nil
}

package acl

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/method"
)

//go:generate go tool msgp -tests=false -io=false -o login_gen.go -file login.go
//msgp:limit arrays:64 maps:64

// Bounds of what who logs in shows.
const (
	MaxBearer    = 64 << 10 // bytes of a credential
	MaxLoginMeta = 2048     // bytes of all keys and values that describe a token
)

// LoginRequest asks for a token in exchange for a credential that somebody else
// vouches for.
type LoginRequest struct {
	Method string `msg:"m"` // by its name
	// Bearer is the credential, as the method's type takes it. Never logged.
	Bearer string `msg:"b"`
	// Meta becomes part of the token's description; at most 64 pairs.
	Meta map[string]string `msg:"meta,omitempty"`
}

// Login makes a token for who shows a credential that a method accepts. The leader
// answers: of the home, if the method's tokens are global, else of the datacenter that
// is asked. Who is refused is not told more than that, with CodeDenied.
var Login = op.Direct[LoginRequest, Token]{Name: "acl.login", Authorize: anybody[LoginRequest]}

// Granted is the command that makes a token for who has logged in by a method, and was
// granted what the token says.
func Granted(l op.Leader, m *Method, t *Token, id *method.Identity) (*SetTokenRequest, error) {
	t.AccessorID, t.SecretID, t.AuthMethod = l.NewID(), l.NewID(), m.Name
	t.Local, t.CreateTime = m.TokenLocality != LocalityGlobal, l.Now.UTC()
	if m.MaxTokenTTL > 0 {
		t.ExpirationTime = l.Now.Add(m.MaxTokenTTL).UTC().Truncate(time.Millisecond)
	}
	if m.TokenNameFormat != "" {
		name, err := TokenName(m.TokenNameFormat, m, id)
		if err != nil {
			return nil, err
		}
		t.Name = name + "-" + t.AccessorID[:8] // names of tokens of one method differ
	}
	return &SetTokenRequest{Token: *t, Create: true}, validToken(t)
}

package acl

import (
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
)

// When a token ends is said when it is made: an update that says otherwise is refused and
// not taken for one that says nothing.
func TestALifeIsGivenOnce(t *testing.T) {
	l := op.Leader{Now: time.Now(), NewID: func() string { return "8f9f8e4e-1111-4222-8333-0123456789ab" }}
	made := &SetTokenRequest{Create: true, TTL: time.Hour}
	if err := prepareToken(l, made); err != nil || made.Token.ExpirationTime.IsZero() {
		t.Fatalf("%+v, %v", made.Token, err)
	}
	again := &SetTokenRequest{TTL: 2 * time.Hour, Token: Token{AccessorID: made.Token.AccessorID}}
	if err := prepareToken(l, again); op.CodeOf(err) != op.CodeInvalid || !strings.Contains(err.Error(), "Cannot change expiration time of "+made.Token.AccessorID) {
		t.Errorf("an update with ExpirationTTL: %v", err)
	}
	again.TTL = 0
	if err := prepareToken(l, again); err != nil {
		t.Errorf("without: %v", err)
	}
}

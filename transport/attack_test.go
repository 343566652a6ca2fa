package transport

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/identity/identitytest"
)

// Every setting judges every certificate on connections of both directions.
func TestAttackersWithCertificatesOverQUIC(t *testing.T) {
	t.Parallel()
	root := identitytest.NewIssuer(t)
	claimed := server("a")
	client := claimed
	client.Server = false
	attacks := identitytest.Attacks(t, root, claimed, client, derived(t, testKey(1), claimed).Certificate())
	// A connection carries calls in both directions: one endpoint dials, another answers.
	attackers := map[bool][]*Endpoint{}
	for _, a := range attacks {
		for _, dials := range []bool{true, false} {
			attackers[dials] = append(attackers[dials], endpoint(t, &identitytest.Stranger{Shows: a.Shows, Peer: server("judge")}))
		}
	}
	for _, s := range identitytest.Settings() {
		self := server("judge")
		d := identity.NewDelegated(self, derived(t, testKey(1), self))
		if err := d.SetPolicy(s.Policy(t, root)); err != nil {
			t.Fatal(err)
		}
		judge := endpoint(t, d)
		for i, a := range attacks {
			for _, dials := range []bool{true, false} {
				name := fmt.Sprintf("%+v, %s, it dials %t", s, a.Name, dials)
				from, at := judge, attackers[dials][i]
				if dials {
					from, at = at, judge
				}
				answer, err := from.RoundTrip(within(t, 30*time.Second), Target{Addr: at.Addr().String()}, testProtocol, nil, []byte("x"))
				switch {
				case !a.Refused(s, dials):
					if err != nil || string(answer) != "x" {
						t.Errorf("%s: refused: %v", name, err)
					}
				case err == nil:
					t.Errorf("%s: accepted", name)
				case !errors.Is(err, ErrRefused):
					t.Errorf("%s: it is not told that it is refused: %v", name, err)
				}
			}
		}
	}
}

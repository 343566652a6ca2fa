package agent

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/identity/identitytest"
)

// greet has one end dial the other over Raft's TLS and tells what each says of it.
func greet(t *testing.T, dials, answers *tls.Config) (dialled, answered error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", answers)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if err == nil {
				err = conn.(*tls.Conn).Handshake()
			}
			if err == nil {
				_, err = conn.Write([]byte("x"))
			}
			_ = conn.Close()
		}
		done <- err
	}()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 30 * time.Second}, Config: dials}
	conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1)) // who answers judges last
		_ = conn.Close()
	}
	return err, <-done
}

// Every setting judges every certificate on Raft's connections of both directions; and
// whoever says that he is no server, or one of another datacenter, is refused.
func TestAttackersWithCertificatesOverRaft(t *testing.T) {
	t.Parallel()
	root := identitytest.NewIssuer(t)
	key := make([]byte, 32)
	peer := func(name, dc string, server bool) identity.Peer {
		return identity.Peer{Federation: "fed", Datacenter: dc, NodeID: "id-" + name, Name: name, Server: server}
	}
	derived := func(p identity.Peer) *identity.Derived {
		d, err := identity.NewDerived(key, p)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	claimed, self := peer("a", "dc1", true), peer("judge", "dc1", true)
	attacks := identitytest.Attacks(t, root, claimed, peer("a", "dc1", false), derived(claimed).Certificate())
	abroad := peer("a", "dc2", true)
	attacks = append(attacks, identitytest.Attack{Name: "a server of dc2", Claims: abroad, Shows: identitytest.Forge(t, abroad, root.Issue(t, nil)),
		Refused: func(identitytest.Setting, bool) bool { return true }})
	for _, s := range identitytest.Settings() {
		judge := identity.NewDelegated(self, derived(self))
		if err := judge.SetPolicy(s.Policy(t, root)); err != nil {
			t.Fatal(err)
		}
		for _, a := range attacks {
			stranger := &identitytest.Stranger{Shows: a.Shows, Peer: self}
			ends := func(id transport.Identity, d identity.Direction) *tls.Config {
				return raftTLS(id, verifyServer(id, "dc1", d))
			}
			for _, dials := range []bool{true, false} {
				var judged error
				if dials {
					_, judged = greet(t, ends(stranger, identity.Outgoing), ends(judge, identity.Incoming))
				} else {
					judged, _ = greet(t, ends(judge, identity.Outgoing), ends(stranger, identity.Incoming))
				}
				if want := a.Refused(s, dials) || !a.Claims.Server; (judged != nil) != want {
					t.Errorf("%s: %v, want it refused: %t", fmt.Sprintf("%+v, %s, it dials %t", s, a.Name, dials), judged, want)
				}
			}
		}
	}
}

package certificates

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// calls carries requests of one agent to a server in the same process.
type calls struct {
	protocol transport.Protocol
	from     identity.Peer
	asked    atomic.Int64
	cut      atomic.Bool
}

func (c *calls) RoundTrip(ctx context.Context, _ transport.Target, _ string, _, body []byte) ([]byte, error) {
	if c.cut.Load() {
		return nil, errors.New("cut")
	}
	c.asked.Add(1)
	return c.protocol.Answer(ctx, transport.Remote{Peer: c.from}, body), nil
}

// A client agent always shows a valid certificate: it asks for the next one when two
// thirds of the time of the last are over, so that a day without servers is none.
func TestCertificatesFromServersAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPKI(t)
		p.issue(1000*time.Hour, true)
		conf := p.config()
		conf.InternalRPC.VerifyIncoming = true
		var log bytes.Buffer
		server, err := open(t, conf, &log)
		if err != nil {
			t.Fatal(err)
		}
		self := identity.Peer{Federation: "f", Datacenter: "dc1", NodeID: "c", Name: "c"}
		fallback, err := identity.NewDerived(make([]byte, 32), self)
		if err != nil {
			t.Fatal(err)
		}
		client, err := New(Config{Config: &config.Config{TLS: config.TLS{InternalRPC: config.TLSListener{CAFile: filepath.Join(p.dir, "ca.pem")}}}, Self: self, Fallback: fallback,
			Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		net := &calls{protocol: server.Grants(nil), from: self}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var told atomic.Int64
		go client.Enroll(ctx, Enrollment{Calls: net, Servers: func() []transport.Target { return []transport.Target{{Name: "s"}} }, Granted: func() { told.Add(1) }})
		accepted := func() bool {
			_, err := server.Identity().Verify(client.Identity().Certificate().Certificate, identity.Incoming)
			return err == nil
		}
		for hour := range 20 * 24 {
			synctest.Wait()
			net.cut.Store(hour/24%7 == 3 && hour%24 < 23) // nearly a day a week: what a third of 72 hours bridges
			if !accepted() {
				t.Fatalf("in hour %d its certificate is refused", hour)
			}
			<-time.After(time.Hour)
		}
		synctest.Wait()
		if n := net.asked.Load(); n < 9 || n > 12 || n != told.Load() {
			t.Errorf("in 20 days it asked %d times, and %d came", n, told.Load())
		}
		net.cut.Store(true)
		<-time.After(73 * time.Hour)
		synctest.Wait()
		if accepted() {
			t.Error("after three days without servers its certificate is accepted")
		}
		net.cut.Store(false)
		<-time.After(2 * lastPause)
		synctest.Wait()
		if !accepted() {
			t.Error("two minutes after the servers are back it has no certificate")
		}
	})
}

package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// startRaft starts this server's consensus node on the listener.
func (s *serverParts) startRaft(id transport.Identity, listener net.Listener, log *raftlog.Log, list *serverList) error {
	a := s.a
	incoming, outgoing := verifyServer(id, a.cfg.Datacenter, identity.Incoming), verifyServer(id, a.cfg.Datacenter, identity.Outgoing)
	addressOf := func(id string) (string, bool) {
		for _, srv := range list.Servers() {
			if srv.ID == id {
				return raftHostPort(srv.Addr, srv.RaftPort), true
			}
		}
		return "", false
	}
	advertise, err := net.ResolveTCPAddr("tcp", a.raftAddress())
	if err != nil {
		return errors.Join(fmt.Errorf("address of Raft: %w", err), listener.Close())
	}
	raftTransport, err := consensus.NewTCPTransport(consensus.TCPConfig{
		Listener: admission.ListenTLS(listener, a.limits.Raft, raftTLS(id, incoming), a.limits.Handshake), Advertise: advertise, AddressOf: addressOf,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: localIP(a.cfg.BindAddr)}}, Config: raftTLS(id, outgoing)}
			return d.DialContext(ctx, "tcp", address)
		},
		Logger: a.log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start Raft's transport: %w", err), listener.Close())
	}
	cfg := consensus.Config{NodeID: a.id, Address: a.raftAddress(), Log: log, State: s.state, Machine: s.server.Machine(), Transport: raftTransport,
		Multiplier: uint(a.cfg.Performance.RaftMultiplier), Timing: a.raftTiming(), PreVoteDisabled: a.cfg.RaftPreVoteDisabled,
		SnapshotThreshold: uint64(a.cfg.RaftSnapshotThreshold), SnapshotInterval: a.cfg.RaftSnapshotInterval, TrailingLogs: uint64(a.cfg.RaftTrailingLogs),
		Logger: a.log, Registerer: a.reg, NameOf: func(id string) string { return nameOf(list, id) }, OnLeadership: s.server.LeadershipChanged, OnLeader: s.server.LeaderKnown}
	if s.raft, err = consensus.Start(cfg); err != nil {
		return errors.Join(fmt.Errorf("start consensus: %w", err), raftTransport.Close()) // with the listener; else it goes on accepting
	}
	s.raftStreams = raftTransport
	if err := a.group.OnStop("consensus", s.raft.Stop); err != nil {
		return err
	}
	return a.group.Go("watch consensus", func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case err := <-s.raft.Failed():
			a.finish(&FatalError{fmt.Errorf("consensus stopped: %w%s", err, versionsIfNewer(err, list))})
		}
	})
}

// versionsIfNewer says which versions the servers have where the failure is that this one is
// too old.
func versionsIfNewer(err error, list *serverList) string {
	if !errors.Is(err, state.ErrUnknown) && !errors.Is(err, storage.ErrNewer) {
		return ""
	}
	var all []string
	for _, srv := range list.Servers() {
		all = append(all, srv.Name+" has "+cmp.Or(srv.Version, "a version before "+version.OfLevel(2)))
	}
	slices.Sort(all)
	return " (" + strings.Join(all, ", ") + ")"
}

// nameOf is the name of the node with an ID, "" if gossip does not know it.
func nameOf(list *serverList, id string) string {
	for _, srv := range list.Servers() {
		if srv.ID == id {
			return srv.Name
		}
	}
	return ""
}

func raftHostPort(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

// localIP is what outgoing connections are made from: the address that peers
// know, if it is a certain one.
func localIP(bind string) net.IP {
	if ip := net.ParseIP(bind); ip != nil && !ip.IsUnspecified() {
		return ip
	}
	return nil
}

// raftTiming shortens Raft's times for development and for tests; zero leaves
// the multiplier's.
func (a *Agent) raftTiming() consensus.Timing {
	if a.cfg.DevMode {
		return consensus.Timing{Heartbeat: 35 * time.Millisecond, Election: 52 * time.Millisecond, Lease: 20 * time.Millisecond}
	}
	if h := a.opts.Timing.RaftHeartbeat; h > 0 {
		return consensus.Timing{Heartbeat: h, Election: h, Lease: h / 2}
	}
	return consensus.Timing{}
}

// verifyServer accepts the certificates of servers of the datacenter.
func verifyServer(id transport.Identity, datacenter string, d identity.Direction) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		p, err := id.Verify(raw, d)
		if err != nil {
			return err
		}
		if !p.Server || p.Datacenter != datacenter {
			return fmt.Errorf("%s is no server of datacenter %s", p, datacenter)
		}
		return nil
	}
}

// raftTLS is mutual TLS by the node's identity, which both ends verify.
func raftTLS(id transport.Identity, verify func([][]byte, [][]*x509.Certificate) error) *tls.Config {
	certificate := func() (*tls.Certificate, error) { return id.Certificate(), nil }
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{version.Raft},
		InsecureSkipVerify: true, // names are not what identifies a node: verify is
		ClientAuth:         tls.RequireAnyClientCert, VerifyPeerCertificate: verify,
		SessionTicketsDisabled: true, // resumption would go past verify
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() },
	}
}

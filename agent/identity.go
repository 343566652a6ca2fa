package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/agent/certificates"
	"github.com/legate-project/legate/agent/keyring"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// openIdentity makes what this node shows to others of its datacenter: a certificate
// from files or, without, those under authorities that are derived from the gossip
// keys; without a key one that is self-signed.
func (a *Agent) openIdentity() (transport.Identity, error) {
	var err error
	if a.keys, err = keyring.Open(a.keyrings()); err != nil {
		return nil, err
	}
	fallback, err := a.identity(a.keys.LAN)
	if err != nil {
		return nil, err
	}
	if a.keys.LAN == nil && (a.cfg.AutoEncrypt.TLS || a.cfg.AutoEncrypt.AllowTLS) {
		return nil, errors.New("auto_encrypt takes a gossip key (encrypt): by that servers know who may have a certificate")
	}
	a.certs, err = certificates.New(certificates.Config{Config: a.cfg, Self: a.self, Fallback: fallback, Log: a.log, Registerer: a.reg})
	if err != nil {
		return nil, fmt.Errorf("read the certificates:\n%w", err)
	}
	if a.cfg.Gateway.Enabled {
		if err := a.identityGateway(); err != nil {
			return nil, err
		}
	}
	return a.certs.Identity(), a.group.Go("certificates", a.certs.Run)
}

// identityGateway makes what this gateway is to other datacenters: without keys what it says
// that it is, else what a server gives it, or what its files say.
func (a *Agent) identityGateway() (err error) {
	self := a.self
	self.Gateway = true
	var fallback identity.Fallback
	if a.keys.LAN == nil {
		if fallback, err = identity.NewSelfSigned(self); err != nil {
			return fmt.Errorf("make the gateway's certificate: %w", err)
		}
	} else {
		a.gateway.keys = identity.NewBestowed(self)
		fallback = a.gateway.keys
	}
	if a.gateway.shows, err = a.certs.As(self, fallback); err != nil {
		return fmt.Errorf("make the gateway's certificate: %w", err)
	}
	return nil
}

// identityWAN makes what this server shows to other datacenters: the same, with the
// keys of the WAN pool.
func (s *serverParts) identityWAN() (transport.Identity, error) {
	a := s.a
	fallback, err := a.identity(a.keys.WAN)
	if err != nil {
		return nil, err
	}
	s.authorities, _ = fallback.(*identity.Derived)
	return a.certs.Identity().Beside(fallback), nil
}

// identity is the one without files, for those who share the keys.
func (a *Agent) identity(keys *gossip.Keyring) (identity.Fallback, error) {
	if keys != nil {
		return keyring.Derived(keys, a.self)
	}
	id, err := identity.NewSelfSigned(a.self)
	if err != nil {
		return nil, fmt.Errorf("make the node's certificate: %w", err)
	}
	return id, nil
}

// renewSpread is within what time the agents of a datacenter replace their connections.
const renewSpread = 2 * time.Second

// renewConnections replaces what is connected after gossip keys were removed: what was
// proven with them counts no more.
func (a *Agent) renewConnections() error {
	after := func(keys *gossip.Keyring, renew func(since time.Time)) error {
		if keys == nil {
			return nil
		}
		return keyring.AfterRemoval(keys, func(since time.Time) {
			// An agent that stops has no connections soon.
			_ = a.group.Spawn("renew connections", func(ctx context.Context) {
				select {
				case <-ctx.Done():
				case <-time.After(rand.N(renewSpread)):
					renew(since)
				}
			})
		})
	}
	err := after(a.keys.LAN, func(since time.Time) {
		a.calls.Renew(since)
		if a.server != nil {
			a.server.raftStreams.Renew(a.group.Context())
		}
	})
	if a.server == nil || a.server.between == nil {
		return err
	}
	return errors.Join(err, after(a.keys.WAN, func(since time.Time) {
		a.server.between.Renew(since)
		a.server.ways.Renewed()
	}))
}

// keyrings says where the gossip keys are.
func (a *Agent) keyrings() keyring.Config {
	c := keyring.Config{Key: a.cfg.EncryptKey, WANKey: a.cfg.EncryptWANKey, WAN: a.cfg.Server && a.cfg.Ports.SerfWAN > 0, Write: writeFile, Log: a.log}
	if !a.cfg.DisableKeyringFile {
		c.Dir = a.dir.sub(gossipFolder)
	}
	return c
}

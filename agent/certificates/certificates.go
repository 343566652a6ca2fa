// Package certificates keeps what the tls block of an agent's configuration names:
// it reads the files, has the agent's identity and its HTTPS listener use them, reads
// them again when they change, and tells how long they are still valid.
//
// It promises that files with a fault change nothing: what was read last stays in
// use. Connections live on whatever changes; handshakes after a change use what is
// new. It opens no listener.
package certificates

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/transport/credentials"
	"github.com/legate-project/legate/transport/identity"
)

const (
	// lookEvery is how often the files' times and sizes are looked at. It is also how
	// long they must be left alone: who writes two of them is waited for.
	lookEvery = 5 * time.Second
	// warnBefore is how long before a certificate expires the log begins to say so,
	// once in each warnEvery.
	warnBefore = 30 * 24 * time.Hour
	warnEvery  = 24 * time.Hour

	internalRPC = "internal_rpc" // the listener between agents, as the label of metrics has it
)

// Config says whose certificates they are.
type Config struct {
	Config *config.Config
	Self   identity.Peer
	// Fallback is the identity without files.
	Fallback   identity.Fallback
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Certificates are those of one agent. It is safe for concurrent use.
type Certificates struct {
	log      *slog.Logger
	identity *identity.Delegated
	second   *identity.Delegated // nil unless this agent is somebody else elsewhere
	now      func() time.Time

	domain   string
	hasHTTPS bool

	mu    sync.Mutex // held while what was read is put to use
	tls   config.TLS
	state string // of the files, when they were read

	https  atomic.Pointer[httpsFiles]
	shown  atomic.Pointer[[]shown]
	warned time.Time // by Run alone
}

// httpsFiles are what new connections of the HTTPS listener use.
type httpsFiles struct {
	config *tls.Config
	leaf   *tls.Certificate
}

// shown is a certificate from a file and who shows it.
type shown struct {
	listener string
	cert     *x509.Certificate
}

// New reads the files. The error names every fault of them.
func New(cfg Config) (*Certificates, error) {
	c := &Certificates{log: cfg.Log.With("component", "tls"), identity: identity.NewDelegated(cfg.Self, cfg.Fallback), now: time.Now,
		domain: cfg.Config.Domain, hasHTTPS: len(cfg.Config.HTTPSAddrs()) > 0}
	apply, err := c.Prepare(cfg.Config.TLS)
	if err != nil {
		return nil, err
	}
	apply()
	return c, cfg.Registerer.Register(newExpiry(c))
}

// Check returns every fault of the files that a configuration names.
func Check(cfg *config.Config) []error {
	self := identity.Peer{Federation: cfg.Federation.Name, Datacenter: cfg.Datacenter, Name: cfg.NodeName, Server: cfg.Server}
	c := &Certificates{identity: identity.NewDelegated(self, nil), now: time.Now, domain: cfg.Domain, hasHTTPS: len(cfg.HTTPSAddrs()) > 0}
	_, err := c.Prepare(cfg.TLS)
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// Identity is what connections between agents use.
func (c *Certificates) Identity() *identity.Delegated { return c.identity }

// Prepare reads the files that a configuration names and returns what has them used,
// or every fault.
func (c *Certificates) Prepare(t config.TLS) (apply func(), err error) {
	at := c.stateOf(&t) // before they are read: what changes meanwhile is read again
	put, err := c.read(&t)
	if err != nil {
		return nil, err
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		put()
		c.tls, c.state = t, at
	}, nil
}

// read reads the files and returns what puts them to use.
func (c *Certificates) read(t *config.TLS) (put func(), err error) {
	now := c.now()
	var faults faults
	var list []shown
	use := func() {}
	set, found := credentials.Read(filesOf(&t.InternalRPC), now)
	faults.add("tls.internal_rpc", found)
	if found == nil {
		if use, err = c.prepare(policyOf(&t.InternalRPC, set, c.domain)); err != nil {
			faults.add("tls.internal_rpc", []error{fmt.Errorf("cert_file %q: other agents would refuse it: %w", t.InternalRPC.CertFile, err)})
		}
		if set.Certificate != nil {
			list = append(list, shown{internalRPC, set.Certificate.Leaf})
		}
	}
	var https *httpsFiles
	if c.hasHTTPS {
		set, found := credentials.Read(filesOf(&t.HTTPS), now)
		faults.add("tls.https", found)
		if found == nil && set.Certificate != nil {
			https = &httpsFiles{httpsConfig(&t.HTTPS, set), set.Certificate}
			list = append(list, shown{"https", set.Certificate.Leaf})
		}
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	return func() {
		use()
		if https != nil {
			c.https.Store(https)
		}
		c.shown.Store(&list)
	}, nil
}

// prepare has all that this agent is follow the policy.
func (c *Certificates) prepare(p identity.Policy) (use func(), err error) {
	use, err = c.identity.Prepare(p)
	if c.second == nil || err != nil {
		return use, err
	}
	first := use
	second, err := c.second.Prepare(p)
	return func() { first(); second() }, err
}

// As makes what this agent is elsewhere, where no files say so by the fallback. It follows
// the files from then on. It is for once, before Run.
func (c *Certificates) As(self identity.Peer, fallback identity.Fallback) (*identity.Delegated, error) {
	second, err := c.identity.As(self, fallback)
	if err != nil {
		return nil, err
	}
	c.second = second
	return second, nil
}

func filesOf(l *config.TLSListener) credentials.Files {
	return credentials.Files{CAFile: l.CAFile, CAPath: l.CAPath, CertFile: l.CertFile, KeyFile: l.KeyFile}
}

// stateOf stands for the content of all files.
func (c *Certificates) stateOf(t *config.TLS) string {
	at := filesOf(&t.InternalRPC).State()
	if c.hasHTTPS {
		at += filesOf(&t.HTTPS).State()
	}
	return at
}

func policyOf(l *config.TLSListener, set *credentials.Set, domain string) identity.Policy {
	p := identity.Policy{Certificate: set.Certificate, Roots: set.Roots, VerifyIncoming: l.VerifyIncoming, VerifyOutgoing: l.VerifyOutgoing}
	if l.VerifyServerHostname {
		p.ServerDomain = domain
	}
	return p
}

// faults are what is wrong, each with the listeners that it concerns: files may be
// those of several.
type faults struct {
	texts []string
	where map[string][]string
	errs  map[string]error
}

func (f *faults) add(listener string, found []error) {
	if f.where == nil {
		f.where, f.errs = map[string][]string{}, map[string]error{}
	}
	for _, err := range found {
		text := err.Error()
		if f.where[text] == nil {
			f.texts, f.errs[text] = append(f.texts, text), err
		}
		f.where[text] = append(f.where[text], listener)
	}
}

func (f *faults) err() error {
	var errs []error
	for _, text := range f.texts {
		errs = append(errs, fmt.Errorf("%s: %w", strings.Join(f.where[text], ", "), f.errs[text]))
	}
	return errors.Join(errs...)
}

// HTTPS is the configuration of the HTTPS listener; nil without files for it.
func (c *Certificates) HTTPS() *tls.Config {
	if c.https.Load() == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return c.https.Load().config, nil
	}}
}

func httpsConfig(l *config.TLSListener, set *credentials.Set) *tls.Config {
	conf := &tls.Config{MinVersion: l.MinVersion(), CipherSuites: l.CipherSuites(), Certificates: []tls.Certificate{*set.Certificate}, NextProtos: []string{"h2", "http/1.1"}}
	if !forHTTP2(conf.CipherSuites) {
		conf.NextProtos = conf.NextProtos[1:]
	}
	if l.VerifyIncoming {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, set.Roots
	}
	return conf
}

// forHTTP2 reports whether a suite can be agreed on that HTTP/2 does not forbid
// (RFC 9113, appendix A).
func forHTTP2(suites []uint16) bool {
	if len(suites) == 0 {
		return true
	}
	return slices.ContainsFunc(suites, func(id uint16) bool {
		name := tls.CipherSuiteName(id)
		return strings.Contains(name, "_GCM_") || strings.Contains(name, "CHACHA20")
	})
}

// OwnHTTPS is the configuration of this agent's own client of its HTTPS listener,
// which knows its server by the very certificate.
func (c *Certificates) OwnHTTPS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // the certificate is compared below
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.https.Load().leaf, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, c.https.Load().leaf.Leaf.Raw) {
				return errors.New("it is not this agent that answers: the certificate is another one")
			}
			return nil
		},
	}
}

// Run looks at the files until ctx ends.
func (c *Certificates) Run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	seen := ""
	for {
		c.warnOfExpiry()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			seen = c.look(seen)
		}
	}
}

// look reads files that have changed since they were read, once they are as they were
// at the look before. It returns how they are.
func (c *Certificates) look(before string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stateOf(&c.tls)
	if now == c.state || now != before {
		return now
	}
	c.state = now // a fault is told once, until the files change again
	put, err := c.read(&c.tls)
	if err != nil {
		c.log.Error("CERTIFICATES ARE NOT RENEWED: the files have changed and have faults; what was read before stays in use", "error", err)
		return now
	}
	put()
	c.log.Info("certificates were read again: their files have changed")
	return now
}

// warnOfExpiry tells of certificates that expire soon, once a day.
func (c *Certificates) warnOfExpiry() {
	now := c.now()
	if now.Sub(c.warned) < warnEvery {
		return
	}
	for _, s := range *c.shown.Load() {
		left := s.cert.NotAfter.Sub(now)
		if left > warnBefore {
			continue
		}
		c.warned = now
		text := "a certificate expires soon"
		if left <= 0 {
			text = "A CERTIFICATE HAS EXPIRED: nobody accepts it any more"
		}
		c.log.Warn(text, "listener", s.listener, "subject", s.cert.Subject.String(), "at", s.cert.NotAfter.UTC().Format(time.RFC3339), "days", int(left.Hours()/24))
	}
}

package identity

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Direction is from which end a connection was made.
type Direction int

// Directions, as this end sees them.
const (
	Incoming Direction = iota // the peer dialled
	Outgoing                  // this end dialled
	// Newcomer is Incoming of who comes for a certificate: a client agent with that of
	// the fallback is let in whatever VerifyIncoming says.
	Newcomer
)

// Bounds of what is shown beside and above the operator's certificate.
const (
	// delegatedLife is how long a delegated certificate is valid, as in RFC 9345.
	delegatedLife = 7 * 24 * time.Hour
	// renewAfter is the age at which another is made.
	renewAfter = 24 * time.Hour
	// maxChain is the most certificates that a peer may show.
	maxChain = 10
)

// Fallback is the identity that holds where no certificate of an operator does.
type Fallback interface {
	Certificate() *tls.Certificate
	Authority() *x509.Certificate
	Verify(rawCerts [][]byte, d Direction) (Peer, error)
}

var (
	_ Fallback = (*Derived)(nil)
	_ Fallback = (*SelfSigned)(nil)
	_ Fallback = (*Bestowed)(nil)
)

// Policy is what an operator's certificates are used for. The zero value uses none.
type Policy struct {
	// Certificate is the operator's, with those between it and an authority, and
	// its key. With nil the fallback's certificate is shown.
	Certificate *tls.Certificate
	// Roots are the authorities whose certificates are accepted. With nil only the
	// fallback's are.
	Roots *x509.CertPool
	// VerifyIncoming and VerifyOutgoing refuse the fallback's certificates on
	// connections that the peer or this end makes.
	VerifyIncoming, VerifyOutgoing bool
	// ServerDomain, if set, has every peer that says that it is a server show an
	// operator's certificate with the DNS name server.<datacenter>.<ServerDomain>.
	ServerDomain string
}

// ServerName is the DNS name of the servers of a datacenter.
func ServerName(datacenter, domain string) string {
	return "server." + datacenter + "." + strings.Trim(domain, ".")
}

// Delegated is an identity under certificates that an operator issues. Such a
// certificate says nothing of a Peer, and its key need not be an authority's: so
// each process makes a certificate with its Peer for a key of its own, signs it
// with the key of the operator's certificate, and shows both (RFC 9345 does the
// like). It is safe for concurrent use.
type Delegated struct {
	self     Peer
	fallback Fallback
	now      func() time.Time
	*policied
}

// policied is what identities with different fallbacks have in common.
type policied struct {
	state    atomic.Pointer[delegatedState]
	renewing sync.Mutex
	granted  atomic.Pointer[grant] // nil unless a server gave this client agent one
}

type delegatedState struct {
	Policy
	authority *x509.Certificate // of Certificate; nil without
	shown     *tls.Certificate  // made of Certificate; nil without
	renew     time.Time         // when to make shown anew
}

// NewDelegated makes an identity that is the fallback until SetPolicy.
func NewDelegated(self Peer, fallback Fallback) *Delegated {
	d := &Delegated{self: self, fallback: fallback, now: time.Now, policied: &policied{}}
	d.state.Store(&delegatedState{})
	return d
}

// Beside makes an identity with the same policy, now and after each change of it, and
// another fallback.
func (d *Delegated) Beside(fallback Fallback) *Delegated {
	return &Delegated{self: d.self, fallback: fallback, now: d.now, policied: d.policied}
}

// FilesAlone reports whether no certificate of the fallback makes a server, in either
// direction: who has the keys that it is derived from is none.
func (d *Delegated) FilesAlone() bool {
	s := d.state.Load()
	return s.Roots != nil && (s.VerifyIncoming && s.VerifyOutgoing || s.ServerDomain != "")
}

// HasRoots reports whether certificates from files can be checked.
func (d *Delegated) HasRoots() bool { return d.state.Load().Roots != nil }

// Issues reports whether there is a certificate from files to give others with (Grant).
func (d *Delegated) Issues() bool { return d.state.Load().Policy.Certificate != nil }

// As makes an identity of another Peer with the policy of now and another fallback.
func (d *Delegated) As(self Peer, fallback Fallback) (*Delegated, error) {
	other := NewDelegated(self, fallback)
	other.now = d.now
	return other, other.SetPolicy(d.state.Load().Policy)
}

// SetPolicy replaces the policy for handshakes from now on, unless its certificate
// would be refused by peers with the same policy.
func (d *Delegated) SetPolicy(p Policy) error {
	apply, err := d.Prepare(p)
	if err == nil {
		apply()
	}
	return err
}

// Prepare does of SetPolicy what can fail, and returns the rest.
func (d *Delegated) Prepare(p Policy) (apply func(), err error) {
	s, err := d.prepare(p)
	if err != nil {
		return nil, err
	}
	return func() {
		d.renewing.Lock()
		defer d.renewing.Unlock()
		d.state.Store(s)
	}, nil
}

func (d *Delegated) prepare(p Policy) (*delegatedState, error) {
	s := &delegatedState{Policy: p}
	if p.Certificate == nil {
		return s, nil
	}
	chain, err := parseAll(p.Certificate.Certificate)
	if err != nil {
		return nil, err
	}
	if s.authority, err = s.vouched(chain, d.self, d.now()); err != nil {
		return nil, err
	}
	return s, d.delegate(s)
}

// delegate makes the certificate that the operator's stands behind.
func (d *Delegated) delegate(s *delegatedState) error {
	leaf, err := x509.ParseCertificate(s.Policy.Certificate.Certificate[0])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadCertificate, err)
	}
	key, ok := s.Policy.Certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%w: its key cannot sign", ErrBadCertificate)
	}
	now := d.now()
	shown, err := issue(d.self, issuer{cert: leaf, key: key, from: later(now.Add(-clockSkew), leaf.NotBefore), to: earlier(now.Add(delegatedLife), leaf.NotAfter)})
	if err != nil {
		return err
	}
	shown.Certificate = append(shown.Certificate, s.Policy.Certificate.Certificate...)
	s.shown, s.renew = shown, now.Add(renewAfter)
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Certificate is what this end shows; asked for each handshake.
func (d *Delegated) Certificate() *tls.Certificate {
	s := d.state.Load()
	if s.shown == nil {
		return d.withoutFiles()
	}
	if d.now().Before(s.renew) {
		return s.shown
	}
	d.renewing.Lock()
	defer d.renewing.Unlock()
	s = d.state.Load() // it may be another by now, or a renewed one
	if s.shown == nil {
		return d.withoutFiles()
	}
	if next := *s; !d.now().Before(s.renew) && d.delegate(&next) == nil {
		d.state.Store(&next)
		return next.shown
	}
	return s.shown // valid for days
}

// Authority returns the certificate of the authority above what this end shows.
func (d *Delegated) Authority() *x509.Certificate {
	if s := d.state.Load(); s.authority != nil {
		return s.authority
	}
	if g := d.grantNow(); g != nil {
		return g.authority
	}
	return d.fallback.Authority()
}

// Verify says who the certificates belong to, or why they are refused.
func (d *Delegated) Verify(rawCerts [][]byte, dir Direction) (Peer, error) {
	s := d.state.Load()
	fromFiles := isDelegated(rawCerts)
	if s.Roots != nil && fromFiles {
		return s.verify(rawCerts, d.self, d.now())
	}
	p, err := d.fallback.Verify(rawCerts, dir)
	switch {
	case err != nil && fromFiles:
		return Peer{}, fmt.Errorf("%w (this agent has no ca_file to check certificates from files with)", err)
	case err != nil:
		return Peer{}, err
	case dir == Newcomer && !p.Server:
		return p, nil
	case dir != Outgoing && s.VerifyIncoming:
		return Peer{}, fmt.Errorf("%w: verify_incoming asks for one from files, which %s does not show", ErrWrongAuthority, p)
	case dir == Outgoing && s.VerifyOutgoing:
		return Peer{}, fmt.Errorf("%w: verify_outgoing asks for one from files, which %s does not show", ErrWrongAuthority, p)
	case p.Server && s.ServerDomain != "":
		return Peer{}, fmt.Errorf("%w: verify_server_hostname asks for one from files, which %s does not show", ErrWrongServerName, p)
	}
	return p, nil
}

// isDelegated tells a delegated certificate from those of other kinds: what comes
// behind it is an operator's, which names no Peer.
func isDelegated(rawCerts [][]byte) bool {
	if len(rawCerts) < 2 {
		return false
	}
	second, err := x509.ParseCertificate(rawCerts[1])
	return err == nil && !slices.ContainsFunc(second.URIs, func(u *url.URL) bool { return u.Scheme == scheme })
}

// verify judges a delegated certificate and the operator's behind it.
func (s *delegatedState) verify(rawCerts [][]byte, self Peer, now time.Time) (Peer, error) {
	if len(rawCerts) > maxChain {
		return Peer{}, fmt.Errorf("%w: %d certificates were sent, %d may be", ErrBadCertificate, len(rawCerts), maxChain)
	}
	leaf, p, err := readLeaf(rawCerts)
	if err != nil {
		return Peer{}, err
	}
	chain, err := parseAll(rawCerts[1:])
	if err != nil {
		return Peer{}, err
	}
	if _, err := s.vouched(chain, p, now); err != nil {
		return Peer{}, err
	}
	if err := delegated(leaf, chain[0], now); err != nil {
		return Peer{}, fmt.Errorf("%w: %w (it claims to be %s)", ErrBadCertificate, err, p)
	}
	return p, sameFederation(self, p)
}

func parseAll(raw [][]byte) ([]*x509.Certificate, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w: none is there", ErrBadCertificate)
	}
	list := make([]*x509.Certificate, 0, len(raw))
	for _, der := range raw {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadCertificate, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// vouched says whether an operator's certificate may stand behind a peer, and which
// authority is behind it. An authority's own may not: everything that it ever signed
// would be a delegation.
func (s *delegatedState) vouched(chain []*x509.Certificate, p Peer, now time.Time) (*x509.Certificate, error) {
	leaf := chain[0]
	if leaf.IsCA {
		return nil, fmt.Errorf("%w: %s is the certificate of an authority, which no agent may show as its own", ErrBadCertificate, leaf.Subject)
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, fmt.Errorf("%w: %s is not for signatures (key usage)", ErrBadCertificate, leaf.Subject)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	usage := x509.ExtKeyUsageClientAuth
	if p.Server {
		usage = x509.ExtKeyUsageServerAuth
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: s.Roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w (it claims to be %s)", ErrWrongAuthority, err, p)
	}
	if name := ServerName(p.Datacenter, s.ServerDomain); p.Server && s.ServerDomain != "" && !slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) }) {
		return nil, fmt.Errorf("%w: it has not the DNS name %s (it claims to be %s)", ErrWrongServerName, name, p)
	}
	return chains[0][len(chains[0])-1], nil
}

// delegated says whether a certificate is a delegation by the operator's.
func delegated(leaf, operator *x509.Certificate, now time.Time) error {
	switch {
	case leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 || len(leaf.UnhandledCriticalExtensions) > 0:
		return errors.New("it is not for signatures, or for more than those")
	case !strong(leaf.SignatureAlgorithm):
		return fmt.Errorf("it is signed with %s", leaf.SignatureAlgorithm)
	case leaf.NotBefore.Before(operator.NotBefore) || leaf.NotAfter.After(operator.NotAfter) || leaf.NotAfter.Sub(leaf.NotBefore) > delegatedLife+clockSkew:
		return errors.New("it is valid for longer than it may be")
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return fmt.Errorf("it is valid from %s to %s, and here it is %s: compare the clocks", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if err := operator.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
		return fmt.Errorf("%s has not signed it: %w", operator.Subject, err)
	}
	return nil
}

// strong leaves out SHA-1, which x509.Certificate.CheckSignature takes.
func strong(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return true
	}
	return false
}

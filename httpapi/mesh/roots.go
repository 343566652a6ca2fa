package mesh

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
)

// rootsIndex is the index of the list of roots: it stays as it is while the
// agent runs.
const rootsIndex = 1

// rootList is the list of roots as Consul shows it.
type rootList struct {
	ActiveRootID string
	TrustDomain  string
	Roots        []root
}

// root is a certificate of the authority. ID and SigningKeyID are in
// hexadecimal, with a colon between bytes; of the serial number the lowest 64
// bits are shown, which is all that clients have room for.
type root struct {
	ID                  string
	Name                string
	SerialNumber        uint64
	SigningKeyID        string
	ExternalTrustDomain string
	NotBefore, NotAfter time.Time
	RootCert            string // PEM
	IntermediateCerts   []string
	Active              bool
	PrivateKeyType      string
	PrivateKeyBits      int
	CreateIndex         uint64
	ModifyIndex         uint64
}

// roots shows the certificate of the authority that signs the agents' own, as
// JSON or, with ?pem, as it is in files. A blocking read waits in vain.
func (a *API) roots(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	if h.MinIndex >= rootsIndex && h.MaxWait > 0 {
		over := time.NewTimer(h.MaxWait)
		defer over.Stop()
		select {
		case <-x.Ctx.Done():
			return x.Ctx.Err()
		case <-over.C:
		}
	}
	list := rootsOf(a.Authority())
	x.Meta(&op.Meta{Index: rootsIndex, KnownLeader: true})
	asPEM, err := x.Flag("pem")
	if err != nil {
		return err
	}
	if asPEM {
		x.W.Header()["Content-Type"] = []string{"application/pem-certificate-chain"}
		x.Reply(200, []byte(list.Roots[0].RootCert))
		return nil
	}
	return x.JSON(list)
}

func rootsOf(cert *x509.Certificate) rootList {
	r := root{ID: colons(fingerprint(cert)), Name: cert.Subject.CommonName, SerialNumber: cert.SerialNumber.Uint64(), SigningKeyID: colons(keyID(cert)),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Active: true, CreateIndex: rootsIndex, ModifyIndex: rootsIndex,
		RootCert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))}
	r.PrivateKeyType, r.PrivateKeyBits = keyKind(cert.PublicKey)
	// Who has the same authority trusts each other, and is one domain.
	r.ExternalTrustDomain = uuid.NewSHA1(uuid.NameSpaceOID, keyID(cert)).String()
	return rootList{ActiveRootID: r.ID, TrustDomain: r.ExternalTrustDomain + ".consul", Roots: []root{r}}
}

// fingerprint is how Consul names a certificate; it is not relied on for more.
func fingerprint(cert *x509.Certificate) []byte {
	sum := sha1.Sum(cert.Raw)
	return sum[:]
}

// keyID is the name of the key that the certificate is of.
func keyID(cert *x509.Certificate) []byte {
	if len(cert.SubjectKeyId) > 0 {
		return cert.SubjectKeyId
	}
	sum := sha1.Sum(cert.RawSubjectPublicKeyInfo) // RFC 5280, 4.2.1.2
	return sum[:]
}

func keyKind(public any) (kind string, bits int) {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return "ed25519", 8 * len(key)
	case *ecdsa.PublicKey:
		return "ec", key.Params().BitSize
	case *rsa.PublicKey:
		return "rsa", 8 * key.Size()
	}
	return fmt.Sprintf("%T", public), 0
}

func colons(b []byte) string { return strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":") }

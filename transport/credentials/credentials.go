// Package credentials reads what an operator keeps in PEM files: a certificate
// with its key, and the authorities whose certificates are trusted.
//
// It promises that everything that is wrong with the files is found at once and
// named with the file, and that no error shows what is in a key. It decides
// nothing about connections, keeps nothing, and asks nobody whether a certificate
// was revoked.
package credentials

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of what is read.
const (
	maxFile  = 1 << 20 // bytes of one file
	maxFiles = 1000    // files of a directory
)

// Files names PEM files. Empty paths are not read.
type Files struct {
	CAFile   string // certificates of authorities
	CAPath   string // a directory of such files
	CertFile string // the certificate and those between it and an authority
	KeyFile  string // its private key
}

// Set is what files held.
type Set struct {
	// Certificate has its Leaf; nil without CertFile.
	Certificate *tls.Certificate
	// Authorities are in the order of the files.
	Authorities []*x509.Certificate
	// Roots are the same; nil if there are none.
	Roots *x509.CertPool
}

// Read reads the files, or returns every fault of them. A certificate that is not
// valid at the time given is a fault, and so are authorities none of which is.
func Read(f Files, now time.Time) (*Set, []error) {
	s, faults := &Set{}, []error(nil)
	add := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	add(s.authoritiesOf("ca_file", f.CAFile))
	add(s.directory(f.CAPath))
	if len(s.Authorities) > 0 {
		add(s.trust(now))
	}
	if f.CertFile != "" || f.KeyFile != "" {
		faults = append(faults, s.pair(f, now)...)
	}
	if faults != nil {
		return nil, faults
	}
	return s, nil
}

// fault names the key of the configuration and the file.
func fault(key, file, format string, args ...any) error {
	return fmt.Errorf("%s %q: "+format, append([]any{key, file}, args...)...)
}

// readFile reads a file that is not too long to be what it should be.
func readFile(key, file string) ([]byte, error) {
	r, err := os.Open(file)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err // the message names the file
		}
		return nil, fault(key, file, "%w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return nil, fault(key, file, "%w", err)
	}
	if len(b) > maxFile {
		return nil, fault(key, file, "is longer than %d bytes", maxFile)
	}
	return b, nil
}

// certificates reads the certificates of a file; others of its blocks are skipped.
func certificates(key, file string) ([]*x509.Certificate, error) {
	b, err := readFile(key, file)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	blocks := 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault(key, file, "certificate %d of it cannot be read: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	switch {
	case blocks == 0:
		return nil, fault(key, file, "is not PEM: -----BEGIN CERTIFICATE----- is missing")
	case len(list) == 0:
		return nil, fault(key, file, "has no certificate in it")
	}
	return list, nil
}

func (s *Set) authoritiesOf(key, file string) error {
	if file == "" {
		return nil
	}
	list, err := certificates(key, file)
	if err != nil {
		return err
	}
	for i, c := range list {
		if c.BasicConstraintsValid && !c.IsCA || c.Version == 3 && !c.BasicConstraintsValid { // those of X.509 v1 do not say
			return fault(key, file, "certificate %d of it (%s) is not that of an authority", i+1, c.Subject)
		}
	}
	s.Authorities = append(s.Authorities, list...)
	return nil
}

// directory reads the files of a directory, but not what is below it or hidden.
func (s *Set) directory(dir string) error {
	if dir == "" {
		return nil
	}
	files, err := filesOf(dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fault("ca_path", dir, "has no files in it")
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, s.authoritiesOf("ca_path", file))
	}
	return errors.Join(errs...)
}

func filesOf(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return nil, fault("ca_path", dir, "%w", err)
	}
	var files []string
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		// Secrets of Kubernetes are links to files in a hidden directory.
		info, err := os.Stat(file)
		if strings.HasPrefix(e.Name(), ".") || err == nil && !info.Mode().IsRegular() {
			continue
		}
		files = append(files, file)
	}
	if len(files) > maxFiles {
		return nil, fault("ca_path", dir, "has more than %d files", maxFiles)
	}
	return files, nil
}

// trust makes the roots of the authorities.
func (s *Set) trust(now time.Time) error {
	s.Roots = x509.NewCertPool()
	valid := false
	for _, c := range s.Authorities {
		s.Roots.AddCert(c)
		valid = valid || Validity(c, now) == nil
	}
	if valid {
		return nil
	}
	last := s.Authorities[len(s.Authorities)-1]
	return fmt.Errorf("ca_file, ca_path: no authority is valid now: %s: %w", last.Subject, Validity(last, now))
}

// Validity says why a certificate is not valid at a time, nil if it is.
func Validity(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("expired on %s", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("is valid from %s on only", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// pair reads a certificate and its key, and looks whether they belong together.
func (s *Set) pair(f Files, now time.Time) []error {
	if f.CertFile == "" || f.KeyFile == "" {
		return []error{errors.New("cert_file and key_file belong together: one of them is missing")}
	}
	var faults []error
	chain, err := certificates("cert_file", f.CertFile)
	if err != nil {
		faults = append(faults, err)
	}
	key, err := privateKey(f.KeyFile)
	if err != nil {
		faults = append(faults, err)
	}
	for i, c := range chain {
		if err := Validity(c, now); err != nil {
			faults = append(faults, fault("cert_file", f.CertFile, "certificate %d of it (%s) %w", i+1, c.Subject, err))
		}
	}
	if len(chain) > 0 && key != nil {
		own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !own.Equal(chain[0].PublicKey) {
			faults = append(faults, fault("key_file", f.KeyFile, "the key does not fit the certificate in %q", f.CertFile))
		}
	}
	if faults != nil {
		return faults
	}
	s.Certificate = &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		s.Certificate.Certificate = append(s.Certificate.Certificate, c.Raw)
	}
	return nil
}

// privateKey reads the first private key of a file. What is wrong inside of a key
// is not told.
func privateKey(file string) (crypto.Signer, error) {
	b, err := readFile("key_file", file)
	if err != nil {
		return nil, err
	}
	blocks := 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, fault("key_file", file, "the key is protected by a passphrase, which nobody could be asked for")
		}
		key, ok := parseKey(block.Bytes)
		if !ok {
			return nil, fault("key_file", file, "the private key cannot be read: PKCS #8, PKCS #1 and SEC 1 can, with keys of ECDSA, RSA and Ed25519")
		}
		return key, nil
	}
	if blocks == 0 {
		return nil, fault("key_file", file, "is not PEM: -----BEGIN PRIVATE KEY----- is missing")
	}
	return nil, fault("key_file", file, "has no private key in it")
}

func parseKey(der []byte) (crypto.Signer, bool) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		s, ok := key.(crypto.Signer)
		return s, ok
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, true
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, true
	}
	return nil, false
}

// State stands for the content of the files: one that is written anew has another
// time or size.
func (f Files) State() string {
	files := []string{f.CAFile, f.CertFile, f.KeyFile}
	if f.CAPath != "" {
		more, _ := filesOf(f.CAPath) // what is wrong is seen when they are read
		files = append(files, more...)
	}
	var b strings.Builder
	for _, file := range files {
		if info, err := os.Stat(file); file != "" && err == nil {
			fmt.Fprintf(&b, "%q %d %d\n", file, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// Package tlscmd makes certificates: an authority of one's own, and certificates of
// agents and of their clients under it. It asks no agent, and overwrites nothing.
package tlscmd

import (
	"crypto"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/transport/authority"
	"github.com/legate-project/legate/transport/credentials"
)

const (
	day = 24 * time.Hour
	// maxDays bounds -days, so that what is made ends before the year 9999, which is
	// as far as certificates reach.
	maxDays = 365 * 1000
	// maxNumber is how many certificates of one kind a directory may hold.
	maxNumber = 10_000
)

// CACreate is the command tls ca create.
func CACreate() command.Command {
	return command.Command{
		Name: "tls ca create", Synopsis: "Make an authority of one's own",
		About: "Makes a certificate authority for agents and their clients, and writes its certificate and its key into this directory:\n" +
			"consul-agent-ca.pem, which all agents and clients get, and consul-agent-ca-key.pem, which nobody gets.",
		Example: "legate tls ca create\nlegate tls ca create -domain=consul -name-constraint -days=3650",
		New:     func() command.Action { return &caAction{} },
	}
}

type caAction struct {
	days                  int
	domain, cluster, name string
	constrain             bool
	additional            command.ListFlag
}

func (a *caAction) Flags(fs *flag.FlagSet) {
	fs.IntVar(&a.days, "days", 1825, "`days` until the certificate expires.")
	fs.StringVar(&a.domain, "domain", "consul", "`domain` of the agents, as in their configuration.")
	fs.StringVar(&a.cluster, "cluster-id", "", "`id` of the cluster, for the authority's URI spiffe://<id>.<domain>.")
	fs.StringVar(&a.name, "common-name", "", "common `name` of the authority. Default: one of its serial number.")
	fs.BoolVar(&a.constrain, "name-constraint", false, "only names in the domain, and localhost, may be certified by it.")
	fs.Var(&a.additional, "additional-name-constraint", "another `domain` that it may certify names of; may be repeated. Means -name-constraint.")
}

func (a *caAction) Run(c *command.Call, _ []string) error {
	domain, life, err := common(a.domain, a.days)
	if err != nil {
		return err
	}
	s := authority.Settings{CommonName: a.name, Domain: domain, ClusterID: a.cluster, Life: life}
	if a.constrain || len(a.additional) > 0 {
		s.Permitted = append(append(s.Permitted, a.additional...), domain, "localhost")
	}
	certFile, keyFile := domain+"-agent-ca.pem", domain+"-agent-ca-key.pem"
	for _, file := range []string{certFile, keyFile} {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s is there already and is not overwritten", file), err)
		}
	}
	pair, err := authority.New(s, time.Now())
	if err != nil {
		return err
	}
	return save(c, pair, certFile, keyFile)
}

// common checks what both commands take.
func common(domain string, days int) (string, time.Duration, error) {
	domain = strings.Trim(domain, ".")
	if domain == "" || strings.ContainsAny(domain, `/\ `) {
		return "", 0, fmt.Errorf("-domain: %q is no DNS domain", domain)
	}
	if days < 1 || days > maxDays {
		return "", 0, fmt.Errorf("-days: want 1 to %d, got %d", maxDays, days)
	}
	return domain, time.Duration(days) * day, nil
}

// save writes both files, or none.
func save(c *command.Call, pair authority.Pair, certFile, keyFile string) error {
	if err := write(keyFile, pair.Key, 0o600); err != nil {
		return err
	}
	if err := write(certFile, pair.Certificate, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	_, err := fmt.Fprintf(c.Stdout, "==> Saved %s\n==> Saved %s\n", certFile, keyFile)
	return err
}

// write makes a file that is not there yet.
func write(file string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// CertCreate is the command tls cert create.
func CertCreate() command.Command {
	return command.Command{
		Name: "tls cert create", Synopsis: "Make a certificate under an authority of one's own",
		About: "Makes a certificate and its key for servers (-server), for client agents (-client) or for who asks agents over HTTPS (-cli), and\n" +
			"writes them into this directory, as dc1-server-consul-0.pem and dc1-server-consul-0-key.pem with the next number that is free.\n" +
			"Who has a server's certificate can be a server. Who runs with verify_server_hostname lets nobody else be one.",
		Example: "legate tls cert create -server -dc=dc1\nlegate tls cert create -client\nlegate tls cert create -cli -days=30",
		New:     func() command.Action { return &certAction{} },
	}
}

type certAction struct {
	server, client, cli             bool
	ca, key, dc, domain, node       string
	days                            int
	additionalNames, additionalAddr command.ListFlag
}

func (a *certAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.server, "server", false, "a certificate for servers: server.<dc>.<domain>.")
	fs.BoolVar(&a.client, "client", false, "a certificate for client agents: client.<dc>.<domain>.")
	fs.BoolVar(&a.cli, "cli", false, "a certificate for clients of HTTPS: cli.<dc>.<domain>.")
	fs.StringVar(&a.ca, "ca", "", "`file` of the authority's certificate. Default: <domain>-agent-ca.pem.")
	fs.StringVar(&a.key, "key", "", "`file` of its key. Default: <domain>-agent-ca-key.pem.")
	fs.IntVar(&a.days, "days", 365, "`days` until the certificate expires.")
	fs.StringVar(&a.dc, "dc", "dc1", "`datacenter` of the agents.")
	fs.StringVar(&a.domain, "domain", "consul", "`domain` of the agents, as in their configuration.")
	fs.StringVar(&a.node, "node", "", "with -server, the `node` for one more name: <node>.server.<dc>.<domain>.")
	fs.Var(&a.additionalNames, "additional-dnsname", "another DNS `name`; may be repeated. localhost is always there.")
	fs.Var(&a.additionalAddr, "additional-ipaddress", "another IP `address`; may be repeated. 127.0.0.1 is always there, but for -cli.")
}

func (a *certAction) Run(c *command.Call, _ []string) error {
	r, kind, err := a.request()
	if err != nil {
		return err
	}
	caFile, caKey := a.ca, a.key
	if caFile == "" {
		caFile = r.Domain + "-agent-ca.pem"
	}
	if caKey == "" {
		caKey = r.Domain + "-agent-ca-key.pem"
	}
	issuer, err := open(caFile, caKey)
	if err != nil {
		return err
	}
	certFile, keyFile, err := free(fmt.Sprintf("%s-%s-%s", r.Datacenter, kind, r.Domain))
	if err != nil {
		return err
	}
	pair, err := issuer.Issue(r, time.Now())
	if err != nil {
		return err
	}
	if a.server {
		fmt.Fprintln(c.Stderr, "Warning: who has this certificate can be a server and see all that servers see. Keep it on servers alone.")
	} else if name := serverName(r.DNSNames, r.Domain); name != "" && a.client {
		fmt.Fprintf(c.Stderr, "Warning: -additional-dnsname=%s is the name of servers: who has this certificate can be one, and see all that servers see, also with verify_server_hostname.\n", name)
	}
	if end := issuer.Ends(); time.Now().Add(r.Life).After(end) {
		fmt.Fprintf(c.Stderr, "Warning: the authority ends on %s, before -days=%d are over, and the certificate with it.\n", end.UTC().Format(time.DateOnly), a.days)
	}
	fmt.Fprintf(c.Stdout, "==> Using %s and %s\n", caFile, caKey)
	return save(c, pair, certFile, keyFile)
}

// request reads the flags, or tells all that is wrong with them.
func (a *certAction) request() (authority.Request, string, error) {
	var faults []error
	domain, life, err := common(a.domain, a.days)
	faults = append(faults, err)
	r := authority.Request{Datacenter: a.dc, Domain: domain, Node: a.node, DNSNames: a.additionalNames, Life: life}
	kind, kinds := "", 0
	for _, k := range []struct {
		set  bool
		name string
		role authority.Role
	}{{a.server, "server", authority.Server}, {a.client, "client", authority.Client}, {a.cli, "cli", authority.CLI}} {
		if k.set {
			kinds, kind, r.Role = kinds+1, k.name, k.role
		}
	}
	if kinds != 1 {
		faults = append(faults, errors.New("want one of -server, -client and -cli"))
	}
	if a.node != "" && !a.server {
		faults = append(faults, errors.New("-node goes with -server"))
	}
	if a.dc == "" || strings.ContainsAny(a.dc, `/\ .`) {
		faults = append(faults, fmt.Errorf("-dc: %q cannot name a datacenter", a.dc))
	}
	for _, text := range a.additionalAddr {
		ip := net.ParseIP(text)
		if ip == nil {
			faults = append(faults, fmt.Errorf("-additional-ipaddress: %q is no IP address", text))
			continue
		}
		r.IPs = append(r.IPs, ip)
	}
	return r, kind, errors.Join(faults...)
}

// serverName is the first of the names that makes a server of who has it; "" if none does.
func serverName(names []string, domain string) string {
	for _, n := range names {
		rest, found := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(n, ".")), "server.")
		if dc, ok := strings.CutSuffix(rest, "."+strings.ToLower(domain)); found && ok && dc != "" && !strings.Contains(dc, ".") {
			return n
		}
	}
	return ""
}

// open reads an authority.
func open(certFile, keyFile string) (*authority.Authority, error) {
	set, faults := credentials.Read(credentials.Files{CertFile: certFile, KeyFile: keyFile}, time.Now())
	if faults != nil {
		return nil, fmt.Errorf("read the authority (-ca, -key; legate tls ca create makes one): %w", errors.Join(faults...))
	}
	key, ok := set.Certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key in %s cannot sign", keyFile)
	}
	return authority.Open(set.Certificate.Leaf, key)
}

// free returns the names of files with the first number that neither has yet.
func free(prefix string) (certFile, keyFile string, err error) {
	for i := range maxNumber {
		certFile, keyFile = fmt.Sprintf("%s-%d.pem", prefix, i), fmt.Sprintf("%s-%d-key.pem", prefix, i)
		_, noCert := os.Lstat(certFile)
		_, noKey := os.Lstat(keyFile)
		if errors.Is(noCert, fs.ErrNotExist) && errors.Is(noKey, fs.ErrNotExist) {
			return certFile, keyFile, nil
		}
	}
	return "", "", fmt.Errorf("there are %d certificates %s-*.pem already", maxNumber, prefix)
}

package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
)

// Client is how a command reaches an agent: flags over environment variables
// over defaults.
type Client struct {
	addr, token, tokenFile, caFile, caPath, cert, key, serverName string
	namespace, partition                                          string

	Datacenter string // to ask; "" for the agent's
	Stale      bool   // any server may answer

	stderr io.Writer // for what is to be known of an answer
}

// newClient declares the flags that Consul's commands share.
func newClient(fs *flag.FlagSet, how Access) *Client {
	c := &Client{}
	fs.StringVar(&c.addr, "http-addr", "", "`address` of the agent: host:port, a URL such as https://host:port, or unix://path. Also CONSUL_HTTP_ADDR. Default: localhost:8500, over TLS with CONSUL_HTTP_SSL=true.")
	fs.StringVar(&c.token, "token", "", "access `token`. Also CONSUL_HTTP_TOKEN.")
	fs.StringVar(&c.tokenFile, "token-file", "", "`file` that holds the access token. Also CONSUL_HTTP_TOKEN_FILE.")
	fs.StringVar(&c.caFile, "ca-file", "", "`file` of the authorities' certificates. Also CONSUL_CACERT.")
	fs.StringVar(&c.caPath, "ca-path", "", "`directory` of the authorities' certificates. Also CONSUL_CAPATH.")
	fs.StringVar(&c.cert, "client-cert", "", "`file` of the certificate to present. Also CONSUL_CLIENT_CERT.")
	fs.StringVar(&c.key, "client-key", "", "`file` of its private key. Also CONSUL_CLIENT_KEY.")
	fs.StringVar(&c.serverName, "tls-server-name", "", "`name` to expect in the agent's certificate. Also CONSUL_TLS_SERVER_NAME.")
	fs.StringVar(&c.namespace, "namespace", "", "`namespace` of Consul's enterprise edition, passed on.")
	fs.StringVar(&c.partition, "partition", "", "admin `partition` of Consul's enterprise edition, passed on.")
	if how == ToDatacenter {
		fs.StringVar(&c.Datacenter, "datacenter", "", "`datacenter` to ask. Default: the agent's.")
		fs.BoolVar(&c.Stale, "stale", false, "any server may answer, not only the leader.")
	}
	return c
}

// Config merges flags over the environment.
func (c *Client) Config() *api.Config {
	config := api.DefaultConfig()
	for _, set := range []struct {
		value string
		to    *string
	}{
		{c.addr, &config.Address}, {c.token, &config.Token}, {c.tokenFile, &config.TokenFile}, {c.Datacenter, &config.Datacenter},
		{c.namespace, &config.Namespace}, {c.partition, &config.Partition},
		{c.caFile, &config.TLSConfig.CAFile}, {c.caPath, &config.TLSConfig.CAPath}, {c.cert, &config.TLSConfig.CertFile},
		{c.key, &config.TLSConfig.KeyFile}, {c.serverName, &config.TLSConfig.Address},
	} {
		if set.value != "" {
			*set.to = set.value
		}
	}
	return config
}

// Open returns a client of the agent. It does not connect.
func (c *Client) Open() (*api.Client, error) {
	config := c.Config()
	if config.Datacenter != "" {
		if err := listenToOutcomes(config, func(text string) { fmt.Fprintln(c.stderr, "Warning: "+text) }); err != nil {
			return nil, err
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the agent: %w", err)
	}
	return client, nil
}

// dialSocket has a configuration for an agent at a socket of unix:// dial it with its own
// transport: the official client would put another one in the place of what wraps that.
func dialSocket(c *api.Config) {
	path, isUnix := strings.CutPrefix(c.Address, "unix://")
	if !isUnix {
		return
	}
	c.Address, c.Scheme = "localhost", "http"
	c.Transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
}

// OpenVia is Open with something between the client and the network.
func (c *Client) OpenVia(wrap func(http.RoundTripper) http.RoundTripper) (*api.Client, error) {
	config := c.Config()
	dialSocket(config)
	via, err := api.NewHttpClient(config.Transport, config.TLSConfig)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the agent: %w", err)
	}
	via.Transport = wrap(via.Transport)
	config.HttpClient = via
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the agent: %w", err)
	}
	return client, nil
}

// Query returns the options of a read.
func (c *Client) Query() *api.QueryOptions { return &api.QueryOptions{AllowStale: c.Stale} }

// Explain makes a message of an error: what the agent answered, or that there
// is none.
func (c *Client) Explain(err error) string {
	if c == nil {
		return err.Error()
	}
	if answer, ok := errors.AsType[api.StatusError](err); ok {
		body := strings.TrimSpace(answer.Body)
		if body == "" {
			body = http.StatusText(answer.Code)
		}
		return fmt.Sprintf("the agent answered %d: %s", answer.Code, body)
	}
	if errors.Is(err, syscall.ECONNREFUSED) || (errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(c.Config().Address, "unix://")) {
		return fmt.Sprintf("no agent answers at %s (%v)\nIs one running? legate agent -dev starts one; -http-addr or CONSUL_HTTP_ADDR choose another.", c.Config().Address, err)
	}
	if why := hint(err); why != "" {
		return err.Error() + why
	}
	if alert := c.alert(err); alert != nil {
		return alert.Error() + hint(alert)
	}
	return err.Error()
}

// alert looks once more at why no connection came about: net/http says of a refused
// handshake now what the agent said, now only that its HTTP/2 connection did not
// come about. It returns nil if there is nothing to add.
func (c *Client) alert(err error) error {
	config := c.Config()
	host, secure := strings.CutPrefix(config.Address, "https://")
	if failed, ok := errors.AsType[*url.Error](err); !ok || failed.Timeout() || !secure && config.Scheme != "https" {
		return nil
	}
	conf, err := api.SetupTLSConfig(&config.TLSConfig)
	if err != nil {
		return nil
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: alertWait}, "tcp", host, conf)
	if err != nil {
		return err
	}
	defer conn.Close()
	// In TLS 1.3 the verdict on a client's certificate follows the handshake.
	if err = conn.SetReadDeadline(time.Now().Add(alertWait)); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if hint(err) == "" {
		return nil
	}
	return err
}

// alertWait is how long a refusal is waited for, of which it is known that there was one.
const alertWait = 2 * time.Second

// hint says what may help when TLS failed.
func hint(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "\n-ca-file, -ca-path, CONSUL_CACERT or CONSUL_CAPATH name the authority of the agent's certificate."
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "\n-tls-server-name or CONSUL_TLS_SERVER_NAME say which name to expect in the agent's certificate."
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "\nNo TLS is spoken at this address: is it the port of HTTP?"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" { // an alert
		return "\nThe agent refused the handshake. It may ask for a certificate: -client-cert and -client-key, or CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY."
	}
	return ""
}

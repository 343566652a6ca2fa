package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"syscall"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/several"
)

// remote is how a command reaches an agent: flags over environment variables
// over defaults.
type remote struct {
	addr, token, tokenFile, caFile, caPath, cert, key, serverName string
	namespace, partition, datacenter                              string
	stale                                                         bool

	stderr io.Writer // for what is to be known of an answer
}

// newRemote declares the flags that Consul's commands share.
func newRemote(fs *flag.FlagSet, how access) *remote {
	r := &remote{}
	fs.StringVar(&r.addr, "http-addr", "", "`address` of the agent: host:port, a URL or unix://path. Also CONSUL_HTTP_ADDR. Default: localhost:8500.")
	fs.StringVar(&r.token, "token", "", "access `token`. Also CONSUL_HTTP_TOKEN.")
	fs.StringVar(&r.tokenFile, "token-file", "", "`file` that holds the access token. Also CONSUL_HTTP_TOKEN_FILE.")
	fs.StringVar(&r.caFile, "ca-file", "", "`file` of the authorities' certificates. Also CONSUL_CACERT.")
	fs.StringVar(&r.caPath, "ca-path", "", "`directory` of the authorities' certificates. Also CONSUL_CAPATH.")
	fs.StringVar(&r.cert, "client-cert", "", "`file` of the certificate to present. Also CONSUL_CLIENT_CERT.")
	fs.StringVar(&r.key, "client-key", "", "`file` of its private key. Also CONSUL_CLIENT_KEY.")
	fs.StringVar(&r.serverName, "tls-server-name", "", "`name` to expect in the agent's certificate. Also CONSUL_TLS_SERVER_NAME.")
	fs.StringVar(&r.namespace, "namespace", "", "`namespace` of Consul's enterprise edition, passed on.")
	fs.StringVar(&r.partition, "partition", "", "admin `partition` of Consul's enterprise edition, passed on.")
	if how == toDC {
		fs.StringVar(&r.datacenter, "datacenter", "", "`datacenter` to ask. Default: the agent's.")
		fs.BoolVar(&r.stale, "stale", false, "any server may answer, not only the leader.")
	}
	return r
}

// config merges flags over the environment.
func (r *remote) config() *api.Config {
	c := api.DefaultConfig()
	for _, set := range []struct {
		value string
		to    *string
	}{
		{r.addr, &c.Address}, {r.token, &c.Token}, {r.tokenFile, &c.TokenFile}, {r.datacenter, &c.Datacenter},
		{r.namespace, &c.Namespace}, {r.partition, &c.Partition},
		{r.caFile, &c.TLSConfig.CAFile}, {r.caPath, &c.TLSConfig.CAPath}, {r.cert, &c.TLSConfig.CertFile},
		{r.key, &c.TLSConfig.KeyFile}, {r.serverName, &c.TLSConfig.Address},
	} {
		if set.value != "" {
			*set.to = set.value
		}
	}
	return c
}

// open returns a client of the agent. It does not connect.
func (r *remote) open() (*api.Client, error) {
	config := r.config()
	if config.Datacenter != "" {
		if err := several.Tell(config, func(text string) { fmt.Fprintln(r.stderr, "Warning: "+text) }); err != nil {
			return nil, err
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the agent: %w", err)
	}
	return client, nil
}

// query returns the options of a read.
func (r *remote) query() *api.QueryOptions { return &api.QueryOptions{AllowStale: r.stale} }

// explain makes a message of an error: what the agent answered, or that there
// is none.
func (r *remote) explain(err error) string {
	if r == nil {
		return err.Error()
	}
	if answer, ok := errors.AsType[api.StatusError](err); ok {
		body := strings.TrimSpace(answer.Body)
		if body == "" {
			body = http.StatusText(answer.Code)
		}
		return fmt.Sprintf("the agent answered %d: %s", answer.Code, body)
	}
	if errors.Is(err, syscall.ECONNREFUSED) || (errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(r.config().Address, "unix://")) {
		return fmt.Sprintf("no agent answers at %s (%v)\nIs one running? legate agent -dev starts one; -http-addr or CONSUL_HTTP_ADDR choose another.", r.config().Address, err)
	}
	return err.Error()
}

package method

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// KubernetesConfig says which cluster vouches for its service accounts.
type KubernetesConfig struct {
	// Host is the URL of the cluster's API, without a slash at its end.
	Host string
	// Roots vouch for the API's certificate; nil are those of the system.
	Roots *x509.CertPool
	// ServiceAccountJWT is the token that the API is asked with. Never logged.
	ServiceAccountJWT string
}

// ServiceAccount is what is known of who logs in by a method of type kubernetes.
type ServiceAccount struct {
	Account Account `bexpr:"serviceaccount"`
}

// Account names a service account.
type Account struct {
	Namespace string `bexpr:"namespace"`
	Name      string `bexpr:"name"`
	UID       string `bexpr:"uid"`
}

// Identity is who logs in with a service account.
func (a Account) Identity() *Identity {
	return &Identity{Fields: &ServiceAccount{Account: a}, Variables: map[string]string{
		"serviceaccount.namespace": a.Namespace, "serviceaccount.name": a.Name, "serviceaccount.uid": a.UID}}
}

// Blank implements Config.
func (c *KubernetesConfig) Blank() *Identity { return Account{}.Identity() }

func parseKubernetes(raw []byte) (*KubernetesConfig, error) {
	var given struct {
		Host, CACert, ServiceAccountJWT string
		// Of Consul Enterprise.
		MapNamespaces            bool
		ConsulNamespacePrefix    string
		ConsulNamespaceOverrides map[string]string
	}
	if err := decode(raw, &given); err != nil {
		return nil, err
	}
	if given.MapNamespaces || given.ConsulNamespacePrefix != "" || len(given.ConsulNamespaceOverrides) > 0 {
		return nil, errors.New("Config: MapNamespaces, ConsulNamespacePrefix and ConsulNamespaceOverrides need Consul Enterprise")
	}
	c := &KubernetesConfig{Host: strings.TrimSuffix(given.Host, "/"), ServiceAccountJWT: strings.TrimSpace(given.ServiceAccountJWT)}
	if c.Host == "" {
		return nil, errors.New("Config: Host is required: the address of the Kubernetes API")
	}
	if !strings.Contains(c.Host, "://") {
		c.Host = "https://" + c.Host
	}
	if err := checkURL("Host", c.Host, "https"); err != nil {
		return nil, err
	}
	if strings.Contains(c.Host, "?") {
		return nil, errors.New("Config: Host must not have a query")
	}
	if c.ServiceAccountJWT == "" {
		return nil, errors.New("Config: ServiceAccountJWT is required: a token that may review tokens and read service accounts")
	}
	if strings.Count(c.ServiceAccountJWT, ".") != 2 || strings.ContainsAny(c.ServiceAccountJWT, " \t\r\n") {
		return nil, errors.New("Config: ServiceAccountJWT is no JWT")
	}
	var err error
	c.Roots, err = roots("CACert", given.CACert)
	return c, err
}

// roots reads certificates that vouch for others; nil for an empty text.
func roots(key, text string) (*x509.CertPool, error) {
	if text == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, fmt.Errorf("Config: %s has no certificate in PEM form", key)
	}
	return pool, nil
}

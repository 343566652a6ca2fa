package agent

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/transport/identity"
)

// What probes of a mesh are shown is the authority under which agents trust each
// other, with a key of gossip or without.
func TestRootsAreThoseOfTheAgents(t *testing.T) {
	key := []byte("1234567890123456")
	keyed := run(t, loopback(60), t.TempDir(), `encrypt = "MTIzNDU2Nzg5MDEyMzQ1Ng=="`)
	bare := run(t, loopback(61), t.TempDir(), "")
	another, err := identity.NewDerived(key, identity.Peer{Datacenter: "dc9", Name: "n9"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of     *one
		proves bool // who has the key
	}{{keyed, true}, {bare, false}} {
		list, meta, err := c.of.client.Connect().CARoots(nil)
		if err != nil {
			t.Fatal(err)
		}
		other, _, err := c.of.client.Agent().ConnectCARoots(nil)
		if err != nil || !reflect.DeepEqual(list, other) {
			t.Errorf("an agent has the roots %+v, %v, its datacenter %+v", other, err, list)
		}
		if len(list.Roots) != 1 || list.Roots[0].ID != list.ActiveRootID || !list.Roots[0].Active || list.TrustDomain == "" || meta.LastIndex == 0 {
			t.Fatalf("the roots are %+v, %+v", list, meta)
		}
		pool := x509.NewCertPool()
		if r := list.Roots[0]; !pool.AppendCertsFromPEM([]byte(r.RootCertPEM)) || r.NotBefore.After(time.Now()) || r.NotAfter.Before(time.Now()) {
			t.Errorf("the root is %+v", r)
		}
		leaf, err := x509.ParseCertificate(another.Certificate().Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); (err == nil) != c.proves {
			t.Errorf("the root proves who has the gossip key: %v, want %v", err, c.proves)
		}
		began := time.Now()
		if _, _, err := c.of.client.Connect().CARoots(&api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 50 * time.Millisecond}); err != nil || time.Since(began) < 50*time.Millisecond {
			t.Errorf("a blocking read ends after %s, %v", time.Since(began), err)
		}
		if got := text(t, c.of.url+"/v1/connect/ca/roots?pem"); got != list.Roots[0].RootCertPEM {
			t.Errorf("as PEM it is %q", got)
		}
		var shape struct{ Roots []map[string]any }
		if err := json.Unmarshal([]byte(text(t, c.of.url+"/v1/agent/connect/ca/roots")), &shape); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"SerialNumber", "SigningKeyID", "ExternalTrustDomain", "PrivateKeyType", "PrivateKeyBits"} {
			if _, has := shape.Roots[0][key]; !has {
				t.Errorf("the root has no %s: %v", key, shape.Roots[0])
			}
		}
	}
}

// text gets a page.
func text(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, res.Status, err)
	}
	return string(b)
}

package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/legate-project/legate/state/acl/method"
)

// nameAnnotation of a service account is the name that counts instead of its own.
const nameAnnotation = "consul.hashicorp.com/service-name"

// clusterVerifier asks a Kubernetes cluster whose token it is that somebody shows.
type clusterVerifier struct {
	cfg    *method.KubernetesConfig
	client *http.Client
}

func newClusterVerifier(c *method.KubernetesConfig) *clusterVerifier {
	return &clusterVerifier{cfg: c, client: newClient(c.Roots, 0)} // elsewhere nobody may see tokens
}

// review is the answer to a TokenReview of authentication.k8s.io/v1, as far as it
// counts here.
type review struct {
	Status struct {
		Authenticated bool   `json:"authenticated"`
		Error         string `json:"error"`
		User          struct {
			Username string `json:"username"`
			UID      string `json:"uid"`
		} `json:"user"`
	} `json:"status"`
}

// account is a ServiceAccount, as far as it counts here.
type account struct {
	Metadata struct {
		UID         string            `json:"uid"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// verify implements verifier.
func (v *clusterVerifier) verify(ctx context.Context, bearer string) (*method.Identity, error) {
	if strings.Count(bearer, ".") != 2 {
		return nil, &refusal{"it is no token of a service account"}
	}
	who, err := v.review(ctx, bearer)
	if err != nil {
		return nil, err
	}
	found, err := v.account(ctx, who)
	if err != nil {
		return nil, err
	}
	if found.Metadata.UID != who.UID {
		return nil, &refusal{"the service account was made anew since"}
	}
	if name := found.Metadata.Annotations[nameAnnotation]; name != "" {
		who.Name = name
	}
	return who.Identity(), nil
}

// review has the cluster say whose token it is.
func (v *clusterVerifier) review(ctx context.Context, bearer string) (*method.Account, error) {
	ask := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]any{"token": bearer}}
	req, err := request(ctx, v.cfg.Host+"/apis/authentication.k8s.io/v1/tokenreviews", v.cfg.ServiceAccountJWT, ask)
	if err != nil {
		return nil, err
	}
	var said review
	if err := do(v.client, req, &said); err != nil {
		return nil, fmt.Errorf("have a token reviewed: %w", err)
	}
	status := &said.Status
	if !status.Authenticated || status.Error != "" {
		return nil, &refusal{"the cluster does not know the token"}
	}
	parts := strings.Split(status.User.Username, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" || parts[2] == "" || parts[3] == "" {
		return nil, &refusal{fmt.Sprintf("%.128q is no service account", status.User.Username)}
	}
	return &method.Account{Namespace: parts[2], Name: parts[3], UID: status.User.UID}, nil
}

// account reads the service account.
func (v *clusterVerifier) account(ctx context.Context, who *method.Account) (*account, error) {
	target := v.cfg.Host + "/api/v1/namespaces/" + url.PathEscape(who.Namespace) + "/serviceaccounts/" + url.PathEscape(who.Name)
	req, err := request(ctx, target, v.cfg.ServiceAccountJWT, nil)
	if err != nil {
		return nil, err
	}
	var found account
	err = do(v.client, req, &found)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return nil, &refusal{"the service account is not there any more"}
	}
	if err != nil {
		return nil, fmt.Errorf("read the service account %s/%s: %w", who.Namespace, who.Name, err)
	}
	return &found, nil
}

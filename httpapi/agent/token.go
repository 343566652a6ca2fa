package agent

import (
	"fmt"
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
)

// The tokens that an agent uses itself, by the names that clients set them
// with.
const (
	TokenDefault       = "default"
	TokenAgent         = "agent"
	TokenAgentRecovery = "agent_recovery"
	TokenReplication   = "replication"
	TokenDNS           = "dns"
	TokenConfigFile    = "config_file_service_registration"
)

// tokenTarget returns the token that a name of today or of former times stands
// for.
func tokenTarget(name string) (target string, ok bool) {
	switch name {
	case TokenDefault, "acl_token":
		return TokenDefault, true
	case TokenAgent, "acl_agent_token":
		return TokenAgent, true
	case TokenAgentRecovery, "agent_master", "acl_agent_master_token":
		return TokenAgentRecovery, true
	case TokenReplication, "acl_replication_token":
		return TokenReplication, true
	case TokenDNS:
		return TokenDNS, true
	case TokenConfigFile:
		return TokenConfigFile, true
	}
	return "", false
}

// token takes a token for the agent's own use. An empty one removes what
// was set.
func (a *API) token(x *rest.Exchange) error {
	name, err := x.Argument("Missing token target")
	if err != nil {
		return err
	}
	target, ok := tokenTarget(name)
	if !ok {
		return rest.Refuse(http.StatusNotFound, fmt.Sprintf("Token %q is unknown", name))
	}
	var body struct{ Token string }
	if err := x.Decode(&body); err != nil {
		return err
	}
	if err := a.Agent.SetToken(target, body.Token); err != nil {
		return err
	}
	x.Empty(http.StatusOK)
	return nil
}

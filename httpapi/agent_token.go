package httpapi

import (
	"fmt"
	"net/http"
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

// agentToken takes a token for the agent's own use. An empty one removes what
// was set.
func agentToken(x *exchange) error {
	name, err := x.argument("Missing token target")
	if err != nil {
		return err
	}
	target, ok := tokenTarget(name)
	if !ok {
		return refuse(http.StatusNotFound, fmt.Sprintf("Token %q is unknown", name))
	}
	var body struct{ Token string }
	if err := x.decode(&body); err != nil {
		return err
	}
	if err := x.s.cfg.Agent.SetToken(target, body.Token); err != nil {
		return err
	}
	x.empty(http.StatusOK)
	return nil
}

package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/legate-project/legate/agent/rights"
	"github.com/legate-project/legate/config"
	agentapi "github.com/legate-project/legate/httpapi/agent"
	"github.com/legate-project/legate/server"
	"github.com/legate-project/legate/server/rates"
	"github.com/legate-project/legate/state/acl/rules"
)

// bootstrapResetFile is where an operator writes the reset index that a refused bootstrapping
// of access control was answered with, to have it done once more.
const bootstrapResetFile = "acl-bootstrap-reset"

// access is how a server controls access.
func (a *Agent) access() server.Access {
	return server.Access{Enabled: a.cfg.ACL.Enabled, Settings: ruleSettings(a.cfg), InitialManagement: a.cfg.ACL.Tokens.InitialManagement,
		BootstrapReset: a.bootstrapReset, Home: a.cfg.PrimaryDatacenter}
}

// ruleSettings is what the configuration says beside the rules of policies.
func ruleSettings(cfg *config.Config) rules.Settings {
	return rules.Settings{DefaultAllow: cfg.ACL.DefaultPolicy != "deny", KeyList: cfg.ACL.EnableKeyListPolicy}
}

// startRights has this agent know what the secrets stand for that its own callers show:
// a server from its state, a client by asking servers.
func (a *Agent) startRights() error {
	source := func(_ context.Context, secret string) (rules.Authorizer, error) {
		return a.server.server.Authorizer(secret)
	}
	if a.server == nil {
		k, err := rights.New(rights.Config{Caller: a.caller, Settings: ruleSettings(a.cfg), TTL: a.cfg.ACL.TokenTTL,
			Down: rights.DownPolicy(a.cfg.ACL.DownPolicy), Log: a.log, Registerer: a.reg})
		if err != nil {
			return err
		}
		if err := a.group.OnStop("rights", k.Stop); err != nil {
			return err
		}
		source = k.Authorizer
	}
	if !a.cfg.ACL.Enabled {
		a.rights = func(context.Context, string) (rules.Authorizer, error) { return rules.AllowAll(), nil }
		return nil
	}
	a.rights = rights.WithRecovery(a.cfg.NodeName, func() string { return a.tokens.get(agentapi.TokenAgentRecovery) }, source)
	return nil
}

// requestRates is what limits.request_limits says.
func requestRates(cfg *config.Config) rates.Settings {
	l := cfg.Limits.RequestLimits
	return rates.Settings{Mode: l.Mode, Read: l.ReadRate, Write: l.WriteRate}
}

// bootstrapReset takes the index that an operator has left: it counts once.
func (a *Agent) bootstrapReset() uint64 {
	path := a.dir.sub(bootstrapResetFile)
	if path == "" {
		return 0
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		a.log.Error("read the reset index of access control", "file", path, "error", err)
		return 0
	}
	index, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		a.log.Error("the file for the reset index of access control must hold that number alone", "file", path)
		return 0
	}
	return index
}

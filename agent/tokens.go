package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/legate-project/legate/config"
	agentapi "github.com/legate-project/legate/httpapi/agent"
)

// tokenFile keeps the tokens that were set while the agent ran.
const tokenFile = "acl-tokens.json"

// tokens are the secrets that the agent uses itself: those of its
// configuration, over them those set through the API. They are never logged.
type tokens struct {
	file string // empty keeps nothing

	writing sync.Mutex // held while the file is written, so that files follow each other as settings do

	mu         sync.RWMutex
	configured map[string]string
	set        map[string]string
}

// openTokens reads what was kept.
func openTokens(cfg *config.Config, dir *dataDir) (*tokens, error) {
	t := &tokens{set: map[string]string{}}
	t.configure(cfg)
	if !cfg.ACL.EnableTokenPersistence {
		return t, nil
	}
	if t.file = dir.sub(tokenFile); t.file == "" {
		return t, nil
	}
	b, err := os.ReadFile(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept tokens: %w", err)
	}
	if json.Unmarshal(b, &t.set) != nil || t.set == nil { // the fault could quote a secret
		return nil, fmt.Errorf("%s is damaged: restore it, or remove it and set the tokens again", t.file)
	}
	return t, nil
}

// configure takes the tokens of a configuration.
func (t *tokens) configure(cfg *config.Config) {
	c := &cfg.ACL.Tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	t.configured = map[string]string{
		agentapi.TokenDefault: c.Default, agentapi.TokenAgent: c.Agent, agentapi.TokenAgentRecovery: c.AgentRecovery,
		agentapi.TokenReplication: c.Replication, agentapi.TokenDNS: c.DNS, agentapi.TokenConfigFile: c.ConfigFileRegistration,
	}
}

// put sets a token, or with an empty one goes back to the configured.
func (t *tokens) put(target, secret string) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	if t.set[target] = secret; secret == "" {
		delete(t.set, target)
	}
	b, err := json.Marshal(t.set)
	t.mu.Unlock()
	if err != nil || t.file == "" {
		return err
	}
	return writeFile(t.file, b) // which makes files that only the owner reads
}

// get returns the first of the tokens that is set, or "".
func (t *tokens) get(targets ...string) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, target := range targets {
		if s := t.set[target]; s != "" {
			return s
		}
		if s := t.configured[target]; s != "" {
			return s
		}
	}
	return ""
}

// forRequests is the token of requests that bring none.
func (t *tokens) forRequests() string { return t.get(agentapi.TokenDefault) }

// forDNS is the token of DNS lookups.
func (t *tokens) forDNS() string { return t.get(agentapi.TokenDNS, agentapi.TokenDefault) }

// forAgent is the token of what the agent does by itself.
func (t *tokens) forAgent() string { return t.get(agentapi.TokenAgent, agentapi.TokenDefault) }

// forRegistration is the token of services and checks that name none: that of requests,
// as whoever registered them had it, or with file that of configuration files. The
// agent's own is the last resort.
func (t *tokens) forRegistration(file bool) string {
	if file {
		return t.get(agentapi.TokenConfigFile, agentapi.TokenDefault, agentapi.TokenAgent)
	}
	return t.get(agentapi.TokenDefault, agentapi.TokenAgent)
}

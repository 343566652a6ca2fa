package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

var _ Local = (*local.State)(nil)

// localService is a service of this agent as clients see it.
type localService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string                            `json:",omitempty"`
	TaggedAddresses   map[string]catalog.ServiceAddress `json:",omitempty"`
	Weights           catalog.Weights
	EnableTagOverride bool
	ContentHash       string `json:",omitempty"`
	Datacenter        string
}

func (x *exchange) localService(s *catalog.Service) localService {
	return localService{Kind: s.Kind, ID: s.ID, Service: s.Service, Tags: some(s.Tags), Meta: pairs(s.Meta), Port: s.Port,
		Address: s.Address, SocketPath: s.SocketPath, TaggedAddresses: s.TaggedAddresses, Weights: s.Weights,
		EnableTagOverride: s.EnableTagOverride, Datacenter: x.s.cfg.Datacenter}
}

func agentServices(x *exchange) error {
	sel, err := x.selection()
	if err != nil {
		return err
	}
	out := map[string]localService{}
	for id, s := range x.s.cfg.Local.Services() {
		view := x.localService(&s)
		ok, err := sel.pass(&view)
		if err != nil {
			return err
		}
		if ok {
			out[id] = view
		}
	}
	return x.json(out)
}

// agentService answers one service; with ?hash it waits until the service is
// another.
func agentService(x *exchange) error {
	id, err := x.argument("Missing service ID")
	if err != nil {
		return err
	}
	h, err := x.header()
	if err != nil {
		return err
	}
	view, _, err := x.hashed(id)
	if err != nil {
		return err
	}
	if known := x.get("hash"); known != "" && known == view.ContentHash {
		if h.MaxWait = x.s.cfg.DefaultQueryTime; x.get("wait") != "" {
			h.MaxWait, _ = time.ParseDuration(x.get("wait")) // header has refused what cannot be read
		}
		if view, err = x.awaitHash(id, known, min(h.MaxWait, x.s.cfg.MaxQueryTime)); err != nil {
			return err
		}
	}
	x.w.Header().Set("X-Consul-Contenthash", view.ContentHash)
	return x.json(view)
}

// awaitHash waits until a service of this agent has another hash, is gone, or
// the time is over. It sleeps until the service itself changes.
func (x *exchange) awaitHash(id, known string, wait time.Duration) (*localService, error) {
	x.waits = true
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		view, changed, err := x.hashed(id)
		if err != nil || view.ContentHash != known {
			return view, err
		}
		select {
		case <-x.ctx.Done():
			return nil, x.ctx.Err()
		case <-over.C:
			return view, nil
		case <-changed:
		}
	}
}

// hashed returns a service of this agent with the hash of its content, and
// what is closed when the service changes.
func (x *exchange) hashed(id string) (*localService, <-chan struct{}, error) {
	s, changed, ok := x.s.cfg.Local.Service(id)
	if !ok {
		return nil, nil, refuse(http.StatusNotFound, "unknown service ID: "+id)
	}
	view := x.localService(&s)
	b, err := json.Marshal(view)
	if err != nil {
		return nil, nil, err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b) // a hash does not fail
	view.ContentHash = fmt.Sprintf("%016x", sum.Sum64())
	return &view, changed, nil
}

// agentServiceRegister reads a definition as configuration files have it.
// Checks that the service has and the definition does not name stay, but with
// ?replace-existing-checks.
func agentServiceRegister(x *exchange) error {
	b, err := x.body(maxBody)
	if err != nil {
		return err
	}
	def, err := config.ServiceFromJSON(b)
	if err != nil {
		return reasoned(http.StatusBadRequest, "invalid", "Request decode failed: "+err.Error())
	}
	if def.Name == "" {
		return refuse(http.StatusBadRequest, "Missing service name")
	}
	replace, err := x.flag("replace-existing-checks")
	if err != nil {
		return err
	}
	for i := range def.Checks {
		if err := x.checkable(&def.Checks[i]); err != nil {
			return err
		}
	}
	if t := x.ownToken(); t != "" {
		def.Token = t
	}
	add := x.s.cfg.Local.AddService
	if replace {
		add = x.s.cfg.Local.ReplaceService
	}
	old, _, known := x.s.cfg.Local.Service(cmp.Or(def.ID, def.Name))
	if err := add(*def); err != nil {
		return localFault(err, def.ID)
	}
	if known && old.Service == def.Name { // those who register again and again have been told
		x.empty(http.StatusOK)
		return nil
	}
	x.warnName("service", def.Name)
	x.empty(http.StatusOK)
	return nil
}

// checkable refuses checks that this agent's clients may not register.
func (x *exchange) checkable(c *config.CheckDefinition) error {
	switch c.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return refuse(http.StatusBadRequest, "Bad check status")
	}
	return nil
}

func agentServiceDeregister(x *exchange) error {
	id, err := x.argument("Missing service ID")
	if err != nil {
		return err
	}
	if err := x.s.cfg.Local.RemoveService(id); err != nil {
		return localFault(err, id)
	}
	x.empty(http.StatusOK)
	return nil
}

func agentChecks(x *exchange) error {
	sel, err := x.selection()
	if err != nil {
		return err
	}
	out := map[string]catalog.Check{}
	for id, c := range x.s.cfg.Local.Checks() {
		fixCheck(&c)
		ok, err := sel.pass(&c)
		if err != nil {
			return err
		}
		if ok {
			out[id] = c
		}
	}
	return x.json(out)
}

func agentCheckRegister(x *exchange) error {
	b, err := x.body(maxBody)
	if err != nil {
		return err
	}
	def, err := config.CheckFromJSON(b)
	if err != nil {
		return reasoned(http.StatusBadRequest, "invalid", "Request decode failed: "+err.Error())
	}
	if def.Name == "" {
		return refuse(http.StatusBadRequest, "Missing check name")
	}
	if err := x.checkable(def); err != nil {
		return err
	}
	if t := x.ownToken(); t != "" {
		def.Token = t
	}
	if err := x.s.cfg.Local.AddCheck(*def); err != nil {
		if errors.Is(err, local.ErrUnknownService) {
			return refuse(http.StatusNotFound, fmt.Sprintf("ServiceID %q does not exist", def.ServiceID))
		}
		return localFault(err, def.ID)
	}
	x.empty(http.StatusOK)
	return nil
}

func agentCheckDeregister(x *exchange) error {
	id, err := x.argument("Missing check ID")
	if err != nil {
		return err
	}
	if err := x.s.cfg.Local.RemoveCheck(id); err != nil {
		return localFault(err, id)
	}
	x.empty(http.StatusOK)
	return nil
}

func agentCheckPass(x *exchange) error { return x.report(catalog.Passing, x.get("note")) }

func agentCheckWarn(x *exchange) error { return x.report(catalog.Warning, x.get("note")) }

func agentCheckFail(x *exchange) error { return x.report(catalog.Critical, x.get("note")) }

func agentCheckUpdate(x *exchange) error {
	var body struct{ Status, Output string }
	if err := x.decode(&body); err != nil {
		return err
	}
	switch body.Status {
	case catalog.Passing, catalog.Warning, catalog.Critical:
		return x.report(body.Status, body.Output)
	}
	return refuse(http.StatusBadRequest, "Invalid check status: '"+body.Status+"'")
}

// report hands on what a service says of its own TTL check.
func (x *exchange) report(status, output string) error {
	id, err := x.argument("Missing check ID")
	if err != nil {
		return err
	}
	if err := x.s.cfg.Local.UpdateTTL(id, status, output); err != nil {
		return localFault(err, id)
	}
	x.empty(http.StatusOK)
	return nil
}

// localFault gives the errors of agent/local the texts that clients know.
func localFault(err error, id string) error {
	switch {
	case errors.Is(err, local.ErrUnknownService):
		return refuse(http.StatusNotFound, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id))
	case errors.Is(err, local.ErrUnknownCheck):
		return refuse(http.StatusNotFound, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id))
	case errors.Is(err, local.ErrNotTTL):
		return refuse(http.StatusInternalServerError, fmt.Sprintf("CheckID %q does not have associated TTL", id))
	}
	var invalid *local.InvalidError
	if errors.As(err, &invalid) {
		return reasoned(http.StatusBadRequest, "invalid", invalid.Text)
	}
	return err
}

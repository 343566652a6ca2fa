package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"time"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

var _ Local = (*local.State)(nil)

// hashPoll is how often a client that waits for another hash of a service is
// compared with it: registrations are rare, their readers few.
const hashPoll = 250 * time.Millisecond

// maxServiceMeta bounds the pairs of a service's metadata.
const maxServiceMeta = 64

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
		ok, err := sel.filter.pass(&view)
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
	view, err := x.hashed(id)
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

func (x *exchange) awaitHash(id, known string, wait time.Duration) (*localService, error) {
	x.waits = true
	over := time.NewTimer(wait)
	defer over.Stop()
	tick := time.NewTicker(hashPoll)
	defer tick.Stop()
	for {
		select {
		case <-x.ctx.Done():
			return nil, x.ctx.Err()
		case <-over.C:
			return x.hashed(id)
		case <-tick.C:
			view, err := x.hashed(id)
			if err != nil || view.ContentHash != known {
				return view, err
			}
		}
	}
}

// hashed returns a service of this agent with the hash of its content.
func (x *exchange) hashed(id string) (*localService, error) {
	s, ok := x.s.cfg.Local.Services()[id]
	if !ok {
		return nil, refuse(http.StatusNotFound, "unknown service ID: "+id)
	}
	view := x.localService(&s)
	b, err := json.Marshal(view)
	if err != nil {
		return nil, err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b) // a hash does not fail
	view.ContentHash = fmt.Sprintf("%016x", sum.Sum64())
	return &view, nil
}

// agentServiceRegister reads a definition as configuration files have it.
// Checks that the service had and no longer defines go, as with
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
	switch {
	case def.Name == "":
		return refuse(http.StatusBadRequest, "Missing service name")
	case def.Address == "0.0.0.0" || def.Address == "::" || def.Address == "[::]":
		return refuse(http.StatusBadRequest, "Invalid service address")
	case def.Port < 0 || def.Port > 65535:
		return refuse(http.StatusBadRequest, "Invalid service port "+strconv.Itoa(def.Port))
	case len(def.Meta) > maxServiceMeta:
		return refuse(http.StatusBadRequest, "Invalid service meta: more than 64 pairs")
	case def.Weights != nil && (def.Weights.Passing < 1 || def.Weights.Passing > 65535 || def.Weights.Warning < 0 || def.Weights.Warning > 65535):
		return refuse(http.StatusBadRequest, "Invalid service weights: want 1 to 65535 for Passing and 0 to 65535 for Warning")
	}
	for i := range def.Checks {
		if err := x.checkable(&def.Checks[i]); err != nil {
			return err
		}
	}
	if err := x.s.cfg.Local.AddService(*def); err != nil {
		return localFault(err, def.ID)
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
		ok, err := sel.filter.pass(&c)
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
	case errors.Is(err, local.ErrInvalid):
		return reasoned(http.StatusBadRequest, "invalid", err.Error())
	}
	return err
}

package agent

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
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

var _ Local = (*local.State)(nil)

func (a *API) services(x *rest.Exchange) error {
	sel, err := x.SelectionOf(&localService{Tags: []string{""}, Proxy: &mesh.Proxy{}, Connect: &mesh.Connect{}})
	if err != nil {
		return err
	}
	by, err := a.caller(x)
	if err != nil {
		return err
	}
	out, hidden := map[string]localService{}, false
	for id, s := range a.Local.Services() {
		if !by.Allow(rules.Service, rules.Read, s.Service) {
			hidden = true
			continue
		}
		view := a.localService(&s)
		said := view // ?filter sees nothing said as empty
		said.Proxy, said.Connect = &s.Proxy, &s.Connect
		ok, err := sel.Pass(&said)
		if err != nil {
			return err
		}
		if ok {
			out[id] = view
		}
	}
	x.Hidden(hidden)
	return x.JSON(out)
}

// service answers one service; with ?hash it waits until the service is
// another.
func (a *API) service(x *rest.Exchange) error {
	id, err := x.Argument("Missing service ID")
	if err != nil {
		return err
	}
	h, err := x.Header()
	if err != nil {
		return err
	}
	view, _, err := a.hashed(x, id)
	if err != nil {
		return err
	}
	if known := x.Get("hash"); known != "" && known == view.ContentHash {
		if h.MaxWait = a.DefaultQueryTime; x.Get("wait") != "" {
			h.MaxWait, _ = time.ParseDuration(x.Get("wait")) // header has refused what cannot be read
		}
		if view, err = a.awaitHash(x, id, known, min(h.MaxWait, a.MaxQueryTime)); err != nil {
			return err
		}
	}
	x.W.Header().Set("X-Consul-Contenthash", view.ContentHash)
	return x.JSON(view)
}

// awaitHash waits until a service of this agent has another hash, is gone, or
// the time is over. It sleeps until the service itself changes.
func (a *API) awaitHash(x *rest.Exchange, id, known string, wait time.Duration) (*localService, error) {
	x.Waits = true
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		view, changed, err := a.hashed(x, id)
		if err != nil || view.ContentHash != known {
			return view, err
		}
		select {
		case <-x.Ctx.Done():
			return nil, x.Ctx.Err()
		case <-over.C:
			view, _, err := a.hashed(x, id) // rights may have changed meanwhile
			return view, err
		case <-changed:
		}
	}
}

// hashed returns a service of this agent with the hash of its content, and
// what is closed when the service changes, for who may see it.
func (a *API) hashed(x *rest.Exchange, id string) (*localService, <-chan struct{}, error) {
	s, changed, ok := a.Local.Service(id)
	if !ok {
		return nil, nil, rest.Refuse(http.StatusNotFound, "unknown service ID: "+id)
	}
	if err := x.Require(rules.Service, rules.Read, s.Service); err != nil {
		return nil, nil, err
	}
	view := a.localService(&s)
	b, err := json.Marshal(view)
	if err != nil {
		return nil, nil, err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b) // a hash does not fail
	view.ContentHash = fmt.Sprintf("%016x", sum.Sum64())
	return &view, changed, nil
}

// serviceRegister reads a definition as configuration files have it.
// Checks that the service has and the definition does not name stay, but with
// ?replace-existing-checks.
func (a *API) serviceRegister(x *rest.Exchange) error {
	b, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	def, err := config.ServiceFromJSON(b)
	if err != nil {
		return rest.Reasoned(http.StatusBadRequest, "invalid", "Request decode failed: "+err.Error())
	}
	if def.Name == "" {
		return rest.Refuse(http.StatusBadRequest, "Missing service name")
	}
	replace, err := x.Flag("replace-existing-checks")
	if err != nil {
		return err
	}
	for i := range def.Checks {
		if err := checkable(&def.Checks[i]); err != nil {
			return err
		}
	}
	by, err := a.caller(x)
	if err == nil {
		err = by.registersService(def)
	}
	if err != nil {
		return err
	}
	if t := x.OwnToken(); t != "" {
		def.Token = t
	}
	add := a.Local.AddService
	if replace {
		add = a.Local.ReplaceService
	}
	id := cmp.Or(def.ID, def.Name)
	old, _, known := a.Local.Service(id)
	if err := add(*def); err != nil {
		return localFault(err, def.ID)
	}
	a.Local.AwaitSync(x.Ctx, id, "")
	if known && old.Service == def.Name { // those who register again and again have been told
		x.Empty(http.StatusOK)
		return nil
	}
	x.WarnName("service", def.Name)
	x.Empty(http.StatusOK)
	return nil
}

// checkable refuses checks that this agent's clients may not register.
func checkable(c *config.CheckDefinition) error {
	switch c.Status {
	case "", catalog.Passing, catalog.Warning, catalog.Critical:
	default:
		return rest.Refuse(http.StatusBadRequest, "Bad check status")
	}
	return nil
}

func (a *API) serviceDeregister(x *rest.Exchange) error {
	id, err := x.Argument("Missing service ID")
	if err != nil {
		return err
	}
	by, err := a.caller(x)
	if err == nil {
		err = by.writesService(id)
	}
	if err != nil {
		return err
	}
	if err := a.Local.RemoveService(id); err != nil {
		return localFault(err, id)
	}
	a.Local.AwaitSync(x.Ctx, id, "")
	x.Empty(http.StatusOK)
	return nil
}

func (a *API) checks(x *rest.Exchange) error {
	sel, err := x.Selection()
	if err != nil {
		return err
	}
	by, err := a.caller(x)
	if err != nil {
		return err
	}
	out, hidden := map[string]catalog.Check{}, false
	for id, c := range a.Local.Checks() {
		if !by.seesCheck(&c) {
			hidden = true
			continue
		}
		rest.FixCheck(&c)
		ok, err := sel.Pass(&c)
		if err != nil {
			return err
		}
		if ok {
			out[id] = c
		}
	}
	x.Hidden(hidden)
	return x.JSON(out)
}

func (a *API) checkRegister(x *rest.Exchange) error {
	b, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	def, err := config.CheckFromJSON(b)
	if err != nil {
		return rest.Reasoned(http.StatusBadRequest, "invalid", "Request decode failed: "+err.Error())
	}
	if def.Name == "" {
		return rest.Refuse(http.StatusBadRequest, "Missing check name")
	}
	if err := checkable(def); err != nil {
		return err
	}
	by, err := a.caller(x)
	if err == nil {
		err = by.registersCheck(def)
	}
	if err != nil {
		return err
	}
	if t := x.OwnToken(); t != "" {
		def.Token = t
	}
	if err := a.Local.AddCheck(*def); err != nil {
		if errors.Is(err, local.ErrUnknownService) {
			return rest.Refuse(http.StatusNotFound, fmt.Sprintf("ServiceID %q does not exist", def.ServiceID))
		}
		return localFault(err, def.ID)
	}
	a.Local.AwaitSync(x.Ctx, "", cmp.Or(def.ID, def.Name))
	x.Empty(http.StatusOK)
	return nil
}

func (a *API) checkDeregister(x *rest.Exchange) error {
	id, err := x.Argument("Missing check ID")
	if err != nil {
		return err
	}
	by, err := a.caller(x)
	if err == nil {
		err = by.writesCheck(id)
	}
	if err != nil {
		return err
	}
	if err := a.Local.RemoveCheck(id); err != nil {
		return localFault(err, id)
	}
	a.Local.AwaitSync(x.Ctx, "", id)
	x.Empty(http.StatusOK)
	return nil
}

func (a *API) checkPass(x *rest.Exchange) error { return a.report(x, catalog.Passing, x.Get("note")) }

func (a *API) checkWarn(x *rest.Exchange) error { return a.report(x, catalog.Warning, x.Get("note")) }

func (a *API) checkFail(x *rest.Exchange) error { return a.report(x, catalog.Critical, x.Get("note")) }

func (a *API) checkUpdate(x *rest.Exchange) error {
	var body struct{ Status, Output string }
	if err := x.Decode(&body); err != nil {
		return err
	}
	switch body.Status {
	case catalog.Passing, catalog.Warning, catalog.Critical:
		return a.report(x, body.Status, body.Output)
	}
	return rest.Refuse(http.StatusBadRequest, "Invalid check status: '"+body.Status+"'")
}

// report hands on what a service says of its own TTL check.
func (a *API) report(x *rest.Exchange, status, output string) error {
	id, err := x.Argument("Missing check ID")
	if err != nil {
		return err
	}
	by, err := a.caller(x)
	if err == nil {
		err = by.writesCheck(id)
	}
	if err != nil {
		return err
	}
	if err := a.Local.UpdateTTL(id, status, output); err != nil {
		return localFault(err, id)
	}
	a.Local.AwaitSync(x.Ctx, "", id)
	x.Empty(http.StatusOK)
	return nil
}

// localFault gives the errors of agent/local the texts that clients know.
func localFault(err error, id string) error {
	switch {
	case errors.Is(err, local.ErrUnknownService):
		return rest.Refuse(http.StatusNotFound, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id))
	case errors.Is(err, local.ErrUnknownCheck):
		return rest.Refuse(http.StatusNotFound, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id))
	case errors.Is(err, local.ErrNotTTL):
		return rest.Refuse(http.StatusInternalServerError, fmt.Sprintf("CheckID %q does not have associated TTL", id))
	}
	var invalid *local.InvalidError
	if errors.As(err, &invalid) {
		return rest.Reasoned(http.StatusBadRequest, "invalid", invalid.Text)
	}
	return err
}

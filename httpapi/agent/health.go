package agent

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
)

// maintenance is the state of what is out of service on purpose; it exists
// only in sums.
const maintenance = "maintenance"

// The IDs of the checks by which nodes and services are put out of service.
const (
	nodeMaintenance    = "_node_maintenance"
	serviceMaintenance = "_service_maintenance:"
)

// serviceHealth is the health of one service of this agent.
type serviceHealth struct {
	AggregatedStatus string
	Service          localService
	Checks           []shownCheck
}

// healthOf sums up a service with the checks of the node and its own.
func (a *API) healthOf(s *catalog.Service) serviceHealth {
	h := serviceHealth{Service: a.localService(s), Checks: []shownCheck{}}
	checks := a.Local.Checks()
	var all catalog.Checks
	down := false
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		c := checks[id]
		if c.ServiceID != "" && c.ServiceID != s.ID {
			continue
		}
		down = down || id == nodeMaintenance || id == serviceMaintenance+s.ID
		all, h.Checks = append(all, c), append(h.Checks, shown(c))
	}
	h.AggregatedStatus = all.Status()
	if down {
		h.AggregatedStatus = maintenance
	}
	return h
}

// statusCode is how load balancers read a health.
func statusCode(status string) int {
	switch status {
	case catalog.Passing:
		return http.StatusOK
	case catalog.Warning:
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

func (a *API) healthByID(x *rest.Exchange) error {
	id, err := x.Argument("Missing serviceID")
	if err != nil {
		return err
	}
	s, ok := a.Local.Services()[id]
	if !ok {
		return rest.Refuse(http.StatusNotFound, fmt.Sprintf("ServiceId %s not found", id))
	}
	if err := x.Require(rules.Service, rules.Read, s.Service); err != nil {
		return err
	}
	h := a.healthOf(&s)
	if x.Get("format") == "text" {
		return x.Text(statusCode(h.AggregatedStatus), h.AggregatedStatus)
	}
	return x.JSONStatus(statusCode(h.AggregatedStatus), h)
}

func (a *API) healthByName(x *rest.Exchange) error {
	name, err := x.Argument("Missing service Name")
	if err != nil {
		return err
	}
	if err := x.Require(rules.Service, rules.Read, name); err != nil {
		return err
	}
	all := a.Local.Services()
	list, worst := []serviceHealth{}, catalog.Passing
	rank := map[string]int{catalog.Passing: 0, catalog.Warning: 1, catalog.Critical: 2, maintenance: 3}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		s := all[id]
		if s.Service != name {
			continue
		}
		h := a.healthOf(&s)
		if rank[h.AggregatedStatus] > rank[worst] {
			worst = h.AggregatedStatus
		}
		list = append(list, h)
	}
	if len(list) == 0 {
		return rest.Refuse(http.StatusNotFound, fmt.Sprintf("ServiceName %s Not Found", name))
	}
	if x.Get("format") == "text" {
		return x.Text(statusCode(worst), worst)
	}
	return x.JSONStatus(statusCode(worst), list)
}

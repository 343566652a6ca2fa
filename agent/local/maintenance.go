package local

import (
	"fmt"
	"strings"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
)

// Checks by which maintenance shows; clients know their IDs.
const (
	nodeMaintenance    = "_node_maintenance"
	serviceMaintenance = "_service_maintenance:" // and the service's ID

	maintenanceKind = "maintenance"
	noReason        = "Maintenance mode is enabled for this %s, but no reason was provided. This is a default message."
)

// isMaintenance reports whether a definition is a check that stands for
// maintenance: it is not run, it is there or not.
func isMaintenance(d *config.CheckDefinition) bool {
	return d.ID == nodeMaintenance || strings.HasPrefix(d.ID, serviceMaintenance)
}

// Maintain puts the node, or with an ID one of its services, in maintenance
// or takes it out: in it, it is critical. It outlives a restart.
func (s *State) Maintain(serviceID string, on bool, reason string) error {
	def := config.CheckDefinition{ID: nodeMaintenance, Name: "Node Maintenance Mode", Status: checks.Critical, Notes: reason}
	what := "node"
	if serviceID != "" {
		def.ID, def.Name, def.ServiceID, what = serviceMaintenance+serviceID, "Service Maintenance Mode", serviceID, "service"
	}
	if def.Notes == "" {
		def.Notes = fmt.Sprintf(noReason, what)
	}
	if on {
		if err := s.completeCheck(&def, false); err != nil {
			return err
		}
	}
	return s.change(func(w *disk.Writes) error {
		_, is := s.checks[def.ID]
		switch {
		case serviceID != "" && s.services[serviceID] == nil:
			return fmt.Errorf("%w %q", ErrUnknownService, serviceID)
		case on == is:
			return nil
		case on:
			return s.planCheck(w, &def, false)
		}
		return s.planRemoval(w, def.ID)
	}, func() {
		_, is := s.checks[def.ID]
		switch {
		case on == is:
		case on:
			s.putCheck(&def, false, false)
			s.changedOf(serviceID)
		default:
			s.takeCheck(def.ID)
		}
	})
}

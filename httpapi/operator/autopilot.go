package operator

import (
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
)

// configuration is that of autopilot as clients of Consul know it.
type configuration struct {
	CleanupDeadServers      bool
	LastContactThreshold    catalog.Duration
	MaxTrailingLogs         uint64
	MinQuorum               uint64
	ServerStabilizationTime catalog.Duration
	RedundancyZoneTag       string
	DisableUpgradeMigration bool
	UpgradeVersionTag       string
	CreateIndex             uint64
	ModifyIndex             uint64
}

func shownConfiguration(c *autopilot.Config) *configuration {
	return &configuration{c.CleanupDeadServers, catalog.Duration(c.LastContactThreshold), c.MaxTrailingLogs, c.MinQuorum, catalog.Duration(c.ServerStabilizationTime),
		c.RedundancyZoneTag, c.DisableUpgradeMigration, c.UpgradeVersionTag, c.CreateIndex, c.ModifyIndex}
}

func (a *API) autopilotConfiguration(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	c, meta, err := autopilot.Get.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	if c == nil {
		return rest.Refuse(http.StatusNotFound, "there is no autopilot configuration yet: the leader writes it as soon as all servers know that command (feature level 2, see docs/upgrading.md)")
	}
	x.Meta(&meta)
	return x.JSON(shownConfiguration(c))
}

// configureAutopilot writes what the body says; what it does not say is as in a
// datacenter where nobody said anything.
func (a *API) configureAutopilot(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	initial := autopilot.Default()
	body := shownConfiguration(&initial)
	if err := x.Decode(body); err != nil {
		return err
	}
	req := autopilot.SetRequest{Config: autopilot.Config{CleanupDeadServers: body.CleanupDeadServers, LastContactThreshold: time.Duration(body.LastContactThreshold),
		MaxTrailingLogs: body.MaxTrailingLogs, MinQuorum: body.MinQuorum, ServerStabilizationTime: time.Duration(body.ServerStabilizationTime),
		RedundancyZoneTag: body.RedundancyZoneTag, DisableUpgradeMigration: body.DisableUpgradeMigration, UpgradeVersionTag: body.UpgradeVersionTag}}
	if req.Config.ModifyIndex, req.CAS, err = x.Number("cas"); err != nil {
		return err
	}
	res, meta, err := autopilot.Set.Call(x.Ctx, a.Caller, h, &req)
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.Truth(res != nil && res.OK)
}

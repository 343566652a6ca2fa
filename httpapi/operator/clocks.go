package operator

import (
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/status"
)

// clocks compares clocks with that of this agent: of the server that it asks first, then
// of those that this one asks.
func (a *API) clocks(x *rest.Exchange) error {
	asked := time.Now()
	got, err := rest.Ask(x, a.Caller, &status.CompareClocks, &status.ClockRequest{Each: true})
	if err != nil {
		return err
	}
	first := got.Beside(asked, time.Now())
	all := []status.Clock{first}
	for _, c := range got.Others {
		if c.Error == "" {
			c.OffsetMS += first.OffsetMS
			c.WithinMS += first.WithinMS
		}
		all = append(all, c)
	}
	return x.JSON(all)
}

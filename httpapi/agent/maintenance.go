package agent

import (
	"net/http"
	"strconv"

	"github.com/legate-project/legate/httpapi/rest"
)

func (a *API) maintenance(x *rest.Exchange) error { return a.maintain(x, "") }

func (a *API) serviceMaintenance(x *rest.Exchange) error {
	id, err := x.Argument("Missing service ID")
	if err != nil {
		return err
	}
	return a.maintain(x, id)
}

// maintain takes the node, or a service of it, into maintenance or out.
func (a *API) maintain(x *rest.Exchange, id string) error {
	text := x.Get("enable")
	if text == "" {
		return rest.Refuse(http.StatusBadRequest, "Missing value for enable")
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return rest.Refuse(http.StatusBadRequest, "Invalid value for enable: \""+text+"\"")
	}
	if id != "" {
		by, err := a.caller(x)
		if err == nil {
			err = by.writesService(id)
		}
		if err != nil {
			return err
		}
	}
	if err := a.Local.Maintain(id, on, x.Get("reason")); err != nil {
		return localFault(err, id)
	}
	a.Local.AwaitSync(x.Ctx, id, "")
	x.Empty(http.StatusOK)
	return nil
}

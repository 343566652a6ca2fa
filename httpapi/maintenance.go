package httpapi

import (
	"net/http"
	"strconv"
)

func agentMaintenance(x *exchange) error { return x.maintain("") }

func agentServiceMaintenance(x *exchange) error {
	id, err := x.argument("Missing service ID")
	if err != nil {
		return err
	}
	return x.maintain(id)
}

// maintain takes the node, or a service of it, into maintenance or out.
func (x *exchange) maintain(id string) error {
	text := x.get("enable")
	if text == "" {
		return refuse(http.StatusBadRequest, "Missing value for enable")
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return refuse(http.StatusBadRequest, "Invalid value for enable: \""+text+"\"")
	}
	if err := x.s.cfg.Local.Maintain(id, on, x.get("reason")); err != nil {
		return localFault(err, id)
	}
	x.empty(http.StatusOK)
	return nil
}

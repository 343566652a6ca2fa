package operator

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

const (
	// maxRelay is through how many others a member may send its answer.
	maxRelay = 5
	// faultsShown bounds how many faults an error names.
	faultsShown = 16
)

// keyringBody is the body of a change.
type keyringBody struct{ Key string }

func (a *API) keyringList(x *rest.Exchange) error {
	req := status.KeyringRequest{Action: status.KeysList}
	var err error
	if req.Relay, err = relayFactor(x); err != nil {
		return err
	}
	if req.Local, err = x.Flag("local-only"); err != nil {
		return err
	}
	return a.keyringListed(x, &status.KeyringList, &req)
}

// keyringWANList lists the keys of the WAN pool alone.
func (a *API) keyringWANList(x *rest.Exchange) error {
	req := status.KeyringRequest{Action: status.KeysList}
	var err error
	if req.Relay, err = relayFactor(x); err != nil {
		return err
	}
	return a.keyringListed(x, &status.KeyringWAN, &req)
}

func (a *API) keyringListed(x *rest.Exchange, o *keyringOp, req *status.KeyringRequest) error {
	got, err := rest.Ask(x, a.Caller, o, req)
	if err != nil {
		return err
	}
	return x.JSON(rest.Some(got.Keyrings))
}

// keyringOp is what a change, or a list, is asked by.
type keyringOp = op.Direct[status.KeyringRequest, status.Keyrings]

// keyringChanges makes the change of an action, of all pools or of the WAN pool alone.
func (a *API) keyringChanges(o *keyringOp, action string) func(*rest.Exchange) error {
	return func(x *rest.Exchange) error { return a.keyringChange(x, o, action) }
}

// keyringChange changes keyrings. What was not done everywhere is an
// error, as clients of Consul expect, that names who did not do it; with ?report the
// answer says what became of each pool, whatever that is.
func (a *API) keyringChange(x *rest.Exchange, o *keyringOp, action string) error {
	req := status.KeyringRequest{Action: action}
	report, err := x.Flag("report")
	if err != nil {
		return err
	}
	if req.Force, err = x.Flag("force"); err != nil {
		return err
	}
	if x.Has("local-only") {
		return rest.Refuse(http.StatusBadRequest, "local-only goes with listing keys only: a key is changed everywhere")
	}
	if req.Relay, err = relayFactor(x); err != nil {
		return err
	}
	var body keyringBody
	if err := x.Decode(&body); err != nil {
		return err
	}
	if req.Key, err = base64.StdEncoding.DecodeString(body.Key); err != nil || len(req.Key) == 0 {
		return rest.Refuse(http.StatusBadRequest, "Invalid Key: want a gossip key of 16, 24 or 32 bytes in base64")
	}
	got, err := rest.Ask(x, a.Caller, o, &req)
	if err != nil {
		return err
	}
	if report {
		return x.JSON(rest.Some(got.Keyrings))
	}
	var faults []string
	for i := range got.Keyrings {
		faults = append(faults, got.Keyrings[i].Faults()...)
	}
	if len(faults) == 0 {
		return x.JSON(rest.Some(got.Keyrings))
	}
	if n := len(faults) - faultsShown; n > 0 {
		faults = append(faults[:faultsShown], fmt.Sprintf("and %d more", n))
	}
	return rest.Reasoned(http.StatusInternalServerError, "partial", "not done everywhere ("+action+"): "+strings.Join(faults, "; "))
}

func relayFactor(x *rest.Exchange) (uint8, error) {
	n, _, err := x.Number("relay-factor")
	if err != nil {
		return 0, err
	}
	if n > maxRelay {
		return 0, rest.Refuse(http.StatusBadRequest, fmt.Sprintf("Relay factor must be in range: [0, %d]", maxRelay))
	}
	return uint8(n), nil
}

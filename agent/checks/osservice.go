package checks

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/legate-project/legate/config"
)

// osServiceProbe asks systemd for the state of a unit: active passes, a unit
// that is on its way warns, everything else is critical.
type osServiceProbe struct {
	unit string
	run  func(ctx context.Context, unit string) (state string, err error)
}

func newOSService(d *config.CheckDefinition) (Prober, error) {
	if strings.HasPrefix(d.OSService, "-") {
		return nil, fmt.Errorf("check %q: %q is no name of a service", d.Name, d.OSService)
	}
	return &osServiceProbe{unit: d.OSService, run: askSystemd}, nil
}

// errNoSystemd is why the check cannot work on this machine.
var errNoSystemd = errors.New("systemd is not present on this machine (no systemctl)")

func askSystemd(ctx context.Context, unit string) (string, error) {
	path, err := exec.LookPath("systemctl")
	if err != nil {
		return "", errNoSystemd
	}
	out, err := exec.CommandContext(ctx, path, "is-active", "--", unit).Output()
	state := strings.TrimSpace(string(out))
	if state != "" { // a unit that is not active ends the command with an error
		return state, nil
	}
	return "", err
}

// Probe implements Prober.
func (p *osServiceProbe) Probe(ctx context.Context) Result {
	state, err := p.run(ctx, p.unit)
	if err != nil {
		return Result{Critical, fmt.Sprintf("service %q: %v", p.unit, err)}
	}
	text := fmt.Sprintf("service %q is %s", p.unit, state)
	switch state {
	case "active":
		return Result{Passing, text}
	case "activating", "reloading":
		return Result{Warning, text}
	}
	return Result{Critical, text}
}

package clustercmd

import (
	"regexp"
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

// The status of the federation says how far behind keys of other datacenters are.
func TestTheStatusHasTheKeysThatFollow(t *testing.T) {
	const views = `[{"Datacenter":"dc2","Server":"s1","Leader":"s1","Links":[]}]`
	const none = "Datacenter dc2, led by s1, as s1 sees the others:\nno other datacenter is known: legate join -wan joins one; of those in retry_join_wan the log says why they do not answer\n"
	const rules = `{"Datacenter":"dc2","Rules":[{"Datacenter":"dc1","Prefix":"config/","Target":"c/","Mode":"mirror","State":"following","Bytes":2048},` +
		`{"Datacenter":"dc3","Prefix":"","Target":"all/","Mode":"mirror","State":"failing","Error":"No path to datacenter","LagSeconds":90,"LagEntries":3,"Conflicts":2}]}`
	commandtest.Check(t, []command.Command{FederationStatus()}, []commandtest.Case{
		{Args: "federation status", Answers: commandtest.Answers{"GET /v1/federation/status": views, "GET /v1/operator/kv-replication": rules}, Out: none +
			"Keys \"config/\" of dc1 at \"c/\": following, 0.0 s and 0 behind, 2.0 kB came, 0 conflicts\n" +
			"Keys \"\" of dc3 at \"all/\": failing, 90 s and 3 behind, 0 B came, 2 conflicts: No path to datacenter\n"},
		{Args: "federation status", Answers: commandtest.Answers{"GET /v1/federation/status": views}, Out: none},
	})
}

// How a datacenter is reached is shown where that is not at its servers.
func TestTheStatusShowsGateways(t *testing.T) {
	links := func(own string) string {
		return `[{"Datacenter":"dc1","Server":"a","Leader":"a",` + own + `"Links":[{"Datacenter":"dc2","State":"up","Gateways":["198.51.100.11:8302","gw.example.com:8302"]},` +
			`{"Datacenter":"dc3","State":"up","Carries":true},{"Datacenter":"dc4","State":"up","Through":["dc3"]},{"Datacenter":"dc5","State":"unreachable","Gateways":["198.51.100.12:8302"]}]}]`
	}
	path := func(text, dc string) string {
		for line := range strings.Lines(text) {
			if cells := regexp.MustCompile(` {2,}`).Split(line, -1); cells[0] == dc {
				return cells[2]
			}
		}
		return ""
	}
	for own, want := range map[string][]string{
		"":                                   {"by gateways", "direct", "through dc3", "-"},
		`"Gateways":["198.51.100.20:8302"],`: {"by gateways", "by gateways", "through dc3", "-"},
	} {
		out := commandtest.Run(t, []command.Command{FederationStatus()}, commandtest.Answers{"GET /v1/federation/status": links(own)}, "", "federation", "status").Out
		for i, dc := range []string{"dc2", "dc3", "dc4", "dc5"} {
			if got := path(out, dc); got != want[i] {
				t.Errorf("with %q %s is reached %q, want %q", own, dc, got, want[i])
			}
		}
		for _, line := range []string{"dc2 is reached through its gateways: 198.51.100.11:8302, gw.example.com:8302\n", "dc3 carries what others say to each other.\n"} {
			if !strings.Contains(out, line) {
				t.Errorf("%q is not in %s", line, out)
			}
		}
		if own != "" != strings.Contains(out, "dc1 is reached through its gateways: 198.51.100.20:8302") {
			t.Errorf("of itself it says: %s", out)
		}
	}
}

// A server behind gateways shows which of them fail it, and why, and which it reaches by TCP alone; the age of what
// is held is left out where nobody knows it.
func TestTheStatusShowsGatewaysThatFail(t *testing.T) {
	status := func(registrations string) string {
		return commandtest.Run(t, []command.Command{FederationStatus()}, commandtest.Answers{"GET /v1/federation/status": `[{"Datacenter":"office","Server":"b","Leader":"b","Registrations":[` + registrations +
			`],"Links":[{"Datacenter":"dc1","State":"up","Views":1,"OldestAgeMS":3153600000000}]}]`}, "", "federation", "status").Out
	}
	const tcp, failing = `{"Gateway":"198.51.100.11:8302","TCP":true}`, `{"Gateway":"198.51.100.13:8302","Error":"nobody answers there"}`
	const alone = "Other datacenters do not reach b: none of its gateways carries for it\n"
	out := status(tcp + "," + failing)
	for _, line := range []string{"b reaches the gateway 198.51.100.11:8302 by TCP: UDP does not get through\n", "b is not reached through the gateway 198.51.100.13:8302: nobody answers there\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in %s", line, out)
		}
	}
	if strings.Contains(out, alone) || strings.Contains(out, "876000") {
		t.Errorf("it says too much: %s", out)
	}
	if out := status(failing); !strings.Contains(out, alone) {
		t.Errorf("that nobody carries is not in %s", out)
	}
}

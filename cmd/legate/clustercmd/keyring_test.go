package clustercmd

import (
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

const keyrings = `[{"WAN":true,"Datacenter":"dc1","Keys":{"a=":2},"PrimaryKeys":{"a=":2},"NumNodes":2},
{"Datacenter":"dc1","Keys":{"a=":3,"b=":3},"PrimaryKeys":{"b=":3},"NumNodes":3}]`

const brokenKeyrings = `[{"WAN":true,"Datacenter":"dc1","Keys":{"a=":1,"b=":1},"PrimaryKeys":{"a=":1},"NumNodes":2,"Members":[{"Name":"s2.dc2","Status":"failed","Server":true}]},
{"Datacenter":"dc1","Keys":{"a=":3,"b=":2},"PrimaryKeys":{"a=":1,"b=":2},"NumNodes":4,"Members":[{"Name":"c1","Status":"alive","Answered":true,"Lacks":["b="],"Uses":"a="},{"Name":"c2","Status":"alive"}],"More":1},
{"Datacenter":"dc2","Keys":{},"PrimaryKeys":{},"Error":"it cannot be reached"}]`

func TestKeyringCommand(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "keyring -list", Answers: commandtest.Answers{"GET /v1/operator/keyring": keyrings},
			Out: "==> Gathering installed encryption keys...\n\nWAN:\n  a= [2/2]\n\ndc1 (LAN):\n  a= [3/3]\n  b= [3/3]\n"},
		{Args: "keyring -list-primary -local-only -relay-factor=3", Answers: commandtest.Answers{"GET /v1/operator/keyring": keyrings},
			Asked: "GET /v1/operator/keyring?local-only=true&relay-factor=3",
			Out:   "==> Gathering installed primary encryption keys...\n\nWAN:\n  a= [2/2]\n\ndc1 (LAN):\n  b= [3/3]\n"},
		{Args: "keyring -install=b=", Answers: commandtest.Answers{"POST /v1/operator/keyring": keyrings}, Asked: `POST /v1/operator/keyring?report= {"Key":"b="}`,
			Out: "==> Installing new gossip encryption key...\n==> Done: 2 of the WAN pool, 3 of the LAN pool of dc1.\n"},
		{Args: "keyring -use b= -force", Answers: commandtest.Answers{"PUT /v1/operator/keyring": keyrings}, Asked: `PUT /v1/operator/keyring?force=&report= {"Key":"b="}`,
			Out: "==> Changing primary gossip encryption key...\n==> Done: 2 of the WAN pool, 3 of the LAN pool of dc1.\n"},
		{Args: "keyring -remove=a=", Answers: commandtest.Answers{"DELETE /v1/operator/keyring": keyrings}, Asked: `DELETE /v1/operator/keyring?report= {"Key":"a="}`,
			Out: "==> Removing gossip encryption key...\n==> Done: 2 of the WAN pool, 3 of the LAN pool of dc1.\n"},
		{Args: "keyring", Code: 1, Err: "say what to do: -list"},
		{Args: "keyring -list -use=b=", Code: 1, Err: "one action at a time"},
		{Args: "keyring -list -relay-factor=6", Code: 1, Err: "-relay-factor must be 0 to 5"},
		{Args: "keyring -install=b= -local-only", Code: 1, Err: "-local-only goes with -list"},
		{Args: "keyring -install=b= -force", Code: 1, Err: "-force goes with"},
	})
}

// A table says who did not do it and what to do, and the exit code that it was not
// everybody.
func TestKeyringCommandSaysWhoDidNotDoIt(t *testing.T) {
	table := "\nThese are not as the others:\n" +
		"Pool       Member      Status  What                  To do\n" +
		"WAN        s2.dc2      failed  did not answer        bring it back, or if it is gone: legate force-leave -wan s2.dc2\n" +
		"dc1 (LAN)  c1          alive   uses a=, lacks b=     -install and -use the keys again\n" +
		"dc1 (LAN)  c2          alive   did not answer        again, with -relay-factor=3\n" +
		"dc1 (LAN)  and 1 more  -       -                     -\n" +
		"dc2 (LAN)  all         -       it cannot be reached  again when it can be reached, see legate federation status\n"
	for _, c := range []struct {
		args, request, answer, out, err string
		code                            int
	}{
		{"-list", "GET", brokenKeyrings, "==> Gathering installed encryption keys...\n\nWAN:\n  a= [1/2]\n  b= [1/2]\n\ndc1 (LAN):\n  a= [3/4]\n  b= [2/4]\n\ndc2 (LAN):\n  unknown: it cannot be reached\n" + table, "not everybody", command.ExitPartial},
		{"-install=b=", "POST", brokenKeyrings, "==> Installing new gossip encryption key...\n" + table, "not everybody", command.ExitPartial},
		{"-use=b=", "PUT", "500!the key is not used", "==> Changing primary gossip encryption key...\n", "the agent answered 500: the key is not used", command.ExitError},
		{"-remove=b=", "DELETE", `[{"Datacenter":"dc1","Keys":{},"PrimaryKeys":{},"NumNodes":1,"Members":[{"Name":"n","Status":"alive"}]}]`,
			"==> Removing gossip encryption key...\n\nThese are not as the others:\nPool       Member  Status  What            To do\ndc1 (LAN)  n       alive   did not answer  again, with -relay-factor=3\n", "nobody did it", command.ExitError},
	} {
		r := commandtest.Run(t, commands(), commandtest.Answers{c.request + " /v1/operator/keyring": c.answer}, "", "keyring", c.args)
		if r.Code != c.code || r.Out != c.out || !strings.Contains(r.Err, c.err) {
			t.Errorf("keyring %s: code %d, want %d\nout: %q\nwant %q\nerr: %s", c.args, r.Code, c.code, r.Out, c.out, r.Err)
		}
	}
}

// A pool that denied its keys is not one that cannot be reached.
func TestKeyringCommandSaysWhoDenied(t *testing.T) {
	answer := `[{"Datacenter":"dc1","Keys":{"a=":1},"PrimaryKeys":{"a=":1},"NumNodes":1},{"Datacenter":"dc2","Keys":{},"PrimaryKeys":{},"Error":"Permission denied: x","Denied":true}]`
	r := commandtest.Run(t, commands(), commandtest.Answers{"GET /v1/operator/keyring": answer}, "", "keyring", "-list")
	if !strings.Contains(r.Out, "again with a token that has the right there") || strings.Contains(r.Out, "when it can be reached") {
		t.Errorf("%q", r.Out)
	}
}

package clustercmd

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/state/status"
)

// maxReport bounds what is read of an agent's answer, in bytes.
const maxReport = 16 << 20

// Keyring is the command keyring.
func Keyring() command.Command {
	return command.Command{
		Name: "keyring", Synopsis: "List, install, use and remove gossip keys", Access: command.ToAgent,
		About: "Rotates the gossip key in the WAN pool and in the LAN pools of all datacenters: -install the new key, -use it, -remove the\n" +
			"old one. A key is used only where all have it, and removed only when all use another; -force does it all the same.\n" +
			"With -wan: in the WAN pool alone, asked of a server. Once that has keys of its own the others are changed without it.\n" +
			"Who did not do it, or did not answer, is listed. The exit code is 0 if everybody did, 2 if not everybody, 1 if nobody.",
		Example: "legate keyring -list\nlegate keyring -install=\"$(legate keygen)\"\nlegate keyring -use=KEY\nlegate keyring -remove=OLDKEY",
		New:     func() command.Action { return &keyringAction{} },
	}
}

type keyringAction struct {
	list, primary, local, wan, force bool
	install, use, remove             string
	relay                            int
}

func (a *keyringAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.list, "list", false, "list the keys of all pools, and how many members accept each.")
	fs.BoolVar(&a.primary, "list-primary", false, "list the keys in use, and how many members use each.")
	fs.StringVar(&a.install, "install", "", "install a `key`: it is accepted from then on.")
	fs.StringVar(&a.use, "use", "", "use an installed `key`.")
	fs.StringVar(&a.remove, "remove", "", "remove a `key` that is not in use.")
	fs.IntVar(&a.relay, "relay-factor", 0, "through how many others each member sends its answer as well, 0 to 5: for networks that lose packets.")
	fs.BoolVar(&a.local, "local-only", false, "list the LAN pool of the agent's datacenter alone.")
	fs.BoolVar(&a.wan, "wan", false, "the WAN pool alone, which then has keys that client agents and gateways have not; on a server.")
	fs.BoolVar(&a.force, "force", false, "use or remove the key although members would be shut out; with -wan install one that a LAN pool has.")
}

func (a *keyringAction) Run(c *command.Call, _ []string) error {
	chosen := 0
	for _, on := range []bool{a.list, a.primary, a.install != "", a.use != "", a.remove != ""} {
		if on {
			chosen++
		}
	}
	switch {
	case chosen == 0:
		return errors.New("say what to do: -list, -list-primary, -install=KEY, -use=KEY or -remove=KEY")
	case chosen > 1:
		return errors.New("one action at a time: -list, -list-primary, -install, -use or -remove")
	case a.relay < 0 || a.relay > 5:
		return errors.New("-relay-factor must be 0 to 5")
	case a.local && !a.list && !a.primary:
		return errors.New("-local-only goes with -list and -list-primary only: a key is changed everywhere")
	case a.local && a.wan:
		return errors.New("one of -local-only and -wan")
	case a.force && a.use == "" && a.remove == "" && (!a.wan || a.install == ""):
		return errors.New("-force goes with -use and -remove only")
	}
	var answer report
	client, err := c.Client.OpenVia(func(next http.RoundTripper) http.RoundTripper {
		return &reporting{next: next, wan: a.wan, force: a.force, report: &answer}
	})
	if err != nil {
		return err
	}
	if err := a.ask(c.Stdout, client); err != nil {
		return err
	}
	return a.show(c.Stdout, answer.pools)
}

// ask has the agent do it.
func (a *keyringAction) ask(w io.Writer, client *api.Client) error {
	operator := client.Operator()
	relay := uint8(a.relay)
	write := &api.WriteOptions{RelayFactor: relay}
	switch {
	case a.install != "":
		fmt.Fprintln(w, "==> Installing new gossip encryption key...")
		return operator.KeyringInstall(a.install, write)
	case a.use != "":
		fmt.Fprintln(w, "==> Changing primary gossip encryption key...")
		return operator.KeyringUse(a.use, write)
	case a.remove != "":
		fmt.Fprintln(w, "==> Removing gossip encryption key...")
		return operator.KeyringRemove(a.remove, write)
	case a.primary:
		fmt.Fprintln(w, "==> Gathering installed primary encryption keys...")
	default:
		fmt.Fprintln(w, "==> Gathering installed encryption keys...")
	}
	_, err := operator.KeyringList(&api.QueryOptions{RelayFactor: relay, LocalOnly: a.local})
	return err
}

// show writes what the pools answered: a list, or who is to be looked at.
func (a *keyringAction) show(w io.Writer, pools []status.Keyring) error {
	listed := a.list || a.primary
	if listed {
		for i := range pools {
			showKeys(w, &pools[i], a.primary)
		}
	}
	faults, did := 0, 0
	for i := range pools {
		faults += len(pools[i].Faults())
		if len(pools[i].Keys) > 0 {
			did++
		}
	}
	if err := showExceptions(w, pools); err != nil {
		return err
	}
	switch {
	case faults > 0 && (did > 0 || listed):
		return &command.Exit{Code: command.ExitPartial, Text: "not everybody answered, or did it: run it again once those above can be reached"}
	case faults > 0:
		return &command.Exit{Code: command.ExitError, Text: "nobody did it"}
	case !listed:
		fmt.Fprintf(w, "==> Done: %s.\n", didIt(pools))
	}
	return nil
}

// didIt says how many of each pool there are.
func didIt(pools []status.Keyring) string {
	var words []string
	for i := range pools {
		words = append(words, fmt.Sprintf("%d of the %s", answered(&pools[i]), command.Printable(pools[i].Pool())))
	}
	return strings.Join(words, ", ")
}

func answered(k *status.Keyring) int {
	n := 0
	for _, some := range k.PrimaryKeys {
		n += some
	}
	return n
}

// showKeys writes the keys of a pool as Consul does.
func showKeys(w io.Writer, k *status.Keyring, primary bool) {
	name := k.Datacenter + " (LAN)"
	if k.WAN {
		name = "WAN"
	}
	fmt.Fprintf(w, "\n%s:\n", command.Printable(name))
	keys := k.Keys
	if primary {
		keys = k.PrimaryKeys
	}
	for _, key := range command.SortedKeys(keys) {
		fmt.Fprintf(w, "  %s [%d/%d]\n", command.Printable(key), keys[key], k.NumNodes)
	}
	if k.Error != "" {
		fmt.Fprintf(w, "  unknown: %s\n", command.Printable(k.Error))
	} else if why := k.Messages[k.Datacenter]; len(k.Keys) == 0 && why != "" {
		fmt.Fprintf(w, "  not shown here: %s\n", command.Printable(why))
	}
}

// showExceptions writes a table of those that are not as the others are.
func showExceptions(w io.Writer, pools []status.Keyring) error {
	rows := [][]string{{"Pool", "Member", "Status", "What", "To do"}}
	for i := range pools {
		k := &pools[i]
		pool := k.Datacenter + " (LAN)"
		if k.WAN {
			pool = "WAN"
		}
		if k.Error != "" {
			do := "again when it can be reached, see legate federation status"
			if k.Denied {
				do = "again with a token that has the right there"
			}
			rows = append(rows, []string{pool, "all", none, k.Error, do})
		}
		for j := range k.Members {
			m := &k.Members[j]
			what, do := judge(k, m)
			rows = append(rows, []string{pool, m.Name, m.Status, what, do})
		}
		if k.More > 0 {
			rows = append(rows, []string{pool, fmt.Sprintf("and %d more", k.More), none, none, none})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	for _, row := range rows[1:] {
		for i := range row {
			row[i] = command.Printable(row[i])
		}
	}
	fmt.Fprintln(w, "\nThese are not as the others:")
	return command.Table(w, rows)
}

// judge says what is wrong with a member and what to do about it.
func judge(k *status.Keyring, m *status.KeyringMember) (what, do string) {
	force := "legate force-leave " + m.Name
	if k.WAN {
		force = "legate force-leave -wan " + m.Name
	}
	switch {
	case !m.Answered && m.Status != "alive":
		return "did not answer", "bring it back, or if it is gone: " + force
	case !m.Answered:
		return "did not answer", "again, with -relay-factor=3"
	case m.Error != "":
		return m.Error, "read its log"
	}
	var words []string
	if m.Uses != "" {
		words = append(words, "uses "+m.Uses)
	}
	for _, key := range m.Lacks {
		words = append(words, "lacks "+key)
	}
	do = "-install and -use the keys again"
	if !slices.ContainsFunc(m.Lacks, func(key string) bool { return k.PrimaryKeys[key] > 0 }) && m.Uses == "" {
		do = "-install the key again, or -remove it"
	}
	return strings.Join(words, ", "), do
}

// report is what an agent answered.
type report struct{ pools []status.Keyring }

// reporting is an http.RoundTripper that asks for a report, which the official client
// does not, and keeps it.
type reporting struct {
	next   http.RoundTripper
	wan    bool // the keys of the WAN pool alone, for which the official client has no call
	force  bool
	report *report
}

// RoundTrip implements http.RoundTripper.
func (r *reporting) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if r.wan {
		req.URL.Path += "/wan"
	}
	q := req.URL.Query()
	if req.Method != http.MethodGet {
		q.Set("report", "")
	}
	if r.force {
		q.Set("force", "")
	}
	req.URL.RawQuery = q.Encode()
	answer, err := r.next.RoundTrip(req)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxReport))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(strings.NewReader(string(body)))
	if err := json.Unmarshal(body, &r.report.pools); err != nil {
		return nil, fmt.Errorf("the agent's answer is no list of keyrings: %w", err)
	}
	return answer, nil
}

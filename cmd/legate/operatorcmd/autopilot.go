package operatorcmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// GetConfig is the command operator autopilot get-config.
func GetConfig() command.Command {
	return command.Command{
		Name: "operator autopilot get-config", Synopsis: "Show how the servers of a datacenter are looked after", Access: command.ToDatacenter,
		About:   "Shows the configuration of autopilot: what counts as healthy, when a new server votes, whether dead ones are removed.",
		Example: "legate operator autopilot get-config",
		New:     func() command.Action { return getConfig{} },
	}
}

type getConfig struct{}

func (getConfig) Flags(*flag.FlagSet) {}

func (getConfig) Run(c *command.Call, _ []string) error {
	_, conf, err := autopilotConfig(c, c.Client.Query())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "CleanupDeadServers = %v\nLastContactThreshold = %v\nMaxTrailingLogs = %v\nMinQuorum = %v\nServerStabilizationTime = %v\n"+
		"RedundancyZoneTag = %q\nDisableUpgradeMigration = %v\nUpgradeVersionTag = %q\n",
		conf.CleanupDeadServers, conf.LastContactThreshold, conf.MaxTrailingLogs, conf.MinQuorum, conf.ServerStabilizationTime,
		conf.RedundancyZoneTag, conf.DisableUpgradeMigration, conf.UpgradeVersionTag)
	return err
}

func autopilotConfig(c *command.Call, q *api.QueryOptions) (*api.Client, *api.AutopilotConfiguration, error) {
	client, err := c.Client.Open()
	if err != nil {
		return nil, nil, err
	}
	conf, err := client.Operator().AutopilotGetConfiguration(q)
	if err != nil {
		return nil, nil, fmt.Errorf("ask for the autopilot configuration: %w", err)
	}
	return client, conf, nil
}

// SetConfig is the command operator autopilot set-config.
func SetConfig() command.Command {
	return command.Command{
		Name: "operator autopilot set-config", Synopsis: "Change how the servers of a datacenter are looked after", Access: command.ToAgent,
		About: "Changes those settings of autopilot that flags name; the others stay. The change is kept in the state of the datacenter and counts\n" +
			"at once. Upgrade migration is not offered: its two flags are kept and have no effect.",
		Example: "legate operator autopilot set-config -server-stabilization-time=30s\nlegate operator autopilot set-config -cleanup-dead-servers=false",
		New:     func() command.Action { return &setConfig{} },
	}
}

// setConfig is what the flags that were given change.
type setConfig struct {
	changes []func(*api.AutopilotConfiguration)
}

func (a *setConfig) Flags(fs *flag.FlagSet) {
	change := func(f func(*api.AutopilotConfiguration)) { a.changes = append(a.changes, f) }
	truth := func(name, usage string, set func(*api.AutopilotConfiguration, bool)) {
		fs.BoolFunc(name, usage, func(text string) error {
			v, err := strconv.ParseBool(text)
			change(func(c *api.AutopilotConfiguration) { set(c, v) })
			return err
		})
	}
	span := func(name, usage string, set func(*api.AutopilotConfiguration, *api.ReadableDuration)) {
		fs.Func(name, usage, func(text string) error {
			v, err := time.ParseDuration(text)
			change(func(c *api.AutopilotConfiguration) { set(c, api.NewReadableDuration(v)) })
			return err
		})
	}
	number := func(name, usage string, set func(*api.AutopilotConfiguration, uint64)) {
		fs.Func(name, usage, func(text string) error {
			v, err := strconv.ParseUint(text, 10, 32)
			change(func(c *api.AutopilotConfiguration) { set(c, v) })
			return err
		})
	}
	word := func(name, usage string, set func(*api.AutopilotConfiguration, string)) {
		fs.Func(name, usage, func(text string) error {
			change(func(c *api.AutopilotConfiguration) { set(c, text) })
			return nil
		})
	}
	truth("cleanup-dead-servers", "remove failed servers where that raises how many more may fail.", func(c *api.AutopilotConfiguration, v bool) { c.CleanupDeadServers = v })
	span("last-contact-threshold", "longest silence, a `duration`, between a healthy server and its leader.", func(c *api.AutopilotConfiguration, v *api.ReadableDuration) { c.LastContactThreshold = v })
	number("max-trailing-logs", "`entries` of the log that a healthy server may lack.", func(c *api.AutopilotConfiguration, v uint64) { c.MaxTrailingLogs = v })
	number("min-quorum", "remove no failed server if fewer `voters` were left.", func(c *api.AutopilotConfiguration, v uint64) { c.MinQuorum = uint(v) })
	span("server-stabilization-time", "how long, a `duration`, a new server must be healthy before it votes.", func(c *api.AutopilotConfiguration, v *api.ReadableDuration) { c.ServerStabilizationTime = v })
	word("redundancy-zone-tag", "`key` of the metadata of nodes that names the zone of a server; \"\" for no zones.", func(c *api.AutopilotConfiguration, v string) { c.RedundancyZoneTag = v })
	truth("disable-upgrade-migration", "kept, without effect.", func(c *api.AutopilotConfiguration, v bool) { c.DisableUpgradeMigration = v })
	word("upgrade-version-tag", "`key` that is kept, without effect.", func(c *api.AutopilotConfiguration, v string) { c.UpgradeVersionTag = v })
}

func (a *setConfig) Run(c *command.Call, _ []string) error {
	if len(a.changes) == 0 {
		return errors.New("say what is to change: legate operator autopilot set-config -h lists the flags")
	}
	client, conf, err := autopilotConfig(c, nil)
	if err != nil {
		return err
	}
	for _, change := range a.changes {
		change(conf)
	}
	done, err := client.Operator().AutopilotCASConfiguration(conf, nil)
	if err != nil {
		return fmt.Errorf("change the autopilot configuration: %w", err)
	}
	if !done {
		return errors.New("somebody else changed the configuration meanwhile: look at it (get-config) and try again")
	}
	fmt.Fprintln(c.Stdout, "Configuration updated!")
	return nil
}

// ShowState is the command operator autopilot state.
func ShowState() command.Command {
	return command.Command{
		Name: "operator autopilot state", Synopsis: "Show how the servers of a datacenter are", Access: command.ToDatacenter,
		About: "Shows what the leader knows of each server: whether it is healthy, since when, whether it votes, and how many may fail before the\n" +
			"datacenter has no leader.",
		Example: "legate operator autopilot state\nlegate operator autopilot state -format=json",
		New:     func() command.Action { return &showState{} },
	}
}

type showState struct{ format string }

func (a *showState) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.format, "format", "pretty", "`form` of the output: pretty or json.")
}

func (a *showState) Run(c *command.Call, _ []string) error {
	if a.format != "pretty" && a.format != "json" {
		return fmt.Errorf("-format is %q: want pretty or json", a.format)
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	state, err := client.Operator().AutopilotState(c.Client.Query())
	if err != nil {
		return fmt.Errorf("ask how the servers are: %w", err)
	}
	if a.format == "json" {
		return command.JSON(c.Stdout, state)
	}
	return writeState(c.Stdout, state)
}

func writeState(w io.Writer, s *api.AutopilotState) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Healthy:                      %v\nFailure Tolerance:            %d\nOptimistic Failure Tolerance: %d\nLeader:                       %s\nVoters:\n",
		s.Healthy, s.FailureTolerance, s.OptimisticFailureTolerance, s.Leader)
	for _, id := range s.Voters {
		fmt.Fprintf(&b, "   %s\n", id)
	}
	if len(s.ReadReplicas) > 0 {
		fmt.Fprintf(&b, "Read Replicas:\n   %s\n", strings.Join(s.ReadReplicas, "\n   "))
	}
	if len(s.RedundancyZones) > 0 {
		b.WriteString("Redundancy Zones:\n")
	}
	for _, name := range command.SortedKeys(s.RedundancyZones) {
		z := s.RedundancyZones[name]
		fmt.Fprintf(&b, "   %s\n      Servers:           %s\n      Voters:            %s\n      Failure Tolerance: %d\n",
			command.Printable(name), strings.Join(z.Servers, ", "), strings.Join(z.Voters, ", "), z.FailureTolerance)
	}
	b.WriteString("Servers:\n")
	for _, id := range command.SortedKeys(s.Servers) {
		srv := s.Servers[id]
		since := "never"
		if !srv.StableSince.IsZero() {
			since = srv.StableSince.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "   %s\n      Name:            %s\n      Address:         %s\n      Version:         %s\n      Status:          %s\n      Node Type:       %s\n"+
			"      Node Status:     %s\n      Healthy:         %v\n      Stable Since:    %s\n      Last Contact:    %s\n      Last Term:       %d\n      Last Index:      %d\n",
			id, command.Printable(srv.Name), srv.Address, command.Printable(srv.Version), srv.Status, srv.NodeType,
			srv.NodeStatus, srv.Healthy, since, srv.LastContact, srv.LastTerm, srv.LastIndex)
		if srv.RedundancyZone != "" {
			fmt.Fprintf(&b, "      Redundancy Zone: %s\n", command.Printable(srv.RedundancyZone))
		}
		for _, key := range command.SortedKeys(srv.Meta) {
			fmt.Fprintf(&b, "      Meta %q: %q\n", key, srv.Meta[key])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

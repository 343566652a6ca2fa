// Package doctorcmd looks at this machine and at the agent that runs on it, and says what
// will hurt: in plain words, the worst first, and what to do.
//
// A check is made of facts, which are gathered first and within bounds; it asks nobody
// itself. What may not be asked, or cannot be seen, is skipped and says why.
package doctorcmd

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/legate-project/legate/agent/certificates"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/config"
)

// packaged is where a package has the configuration.
const packaged = "/etc/legate.d"

// exitWarnings is the exit code where there are warnings alone.
const exitWarnings = 2

// Doctor is the command doctor.
func Doctor() command.Command {
	return command.Command{
		Name: "doctor", Synopsis: "Look at this machine and the agent, and say what will hurt", Access: command.ToAgent,
		About: "Looks at this machine, the agent that runs here, its datacenter and the way to the others, and says what is wrong or will hurt at\n" +
			"the next fault, and what to do. Nothing is changed. It asks what the token may ask (operator:read, agent:read, node:read and service:read\n" +
			"are enough for all) and says what it skipped. Where no agent answers it looks whether one could start: ports, data directory, names,\n" +
			"certificates, by -config-file and -config-dir. Small packets go to servers of other datacenters, to see which size gets through.\n" +
			"The exit code is 0 if nothing was found, 2 if there are warnings alone, 1 if there are problems or it could not look.",
		Example: "legate doctor\nlegate doctor -all\nlegate doctor -format=json\nlegate doctor -config-dir=/etc/legate.d",
		New:     func() command.Action { return &doctorAction{} },
	}
}

type doctorAction struct {
	paths  []string
	format string
	all    bool
}

func (a *doctorAction) Flags(fs *flag.FlagSet) {
	path := func(s string) error { a.paths = append(a.paths, s); return nil }
	fs.Func("config-file", "where no agent answers: look at this configuration `file`; may be repeated.", path)
	fs.Func("config-dir", "where no agent answers: look at the .hcl and .json files of this `directory`; may be repeated. Default: "+packaged+", if it is there.", path)
	fs.StringVar(&a.format, "format", "pretty", "`form` of the output: pretty or json.")
	fs.BoolVar(&a.all, "all", false, "show what is well, too.")
}

func (a *doctorAction) Run(c *command.Call, _ []string) error {
	if a.format != "pretty" && a.format != "json" {
		return fmt.Errorf("-format is %q: want pretty or json", a.format)
	}
	asker, err := newAsker(c.Client.Config())
	if err != nil {
		return err
	}
	files := a.load()
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	found := look(ctx, asker, files)
	if a.format == "json" {
		err = command.JSON(c.Stdout, found)
	} else {
		err = report{all: a.all, wide: pageWidth}.write(c.Stdout, found)
	}
	if err != nil {
		return err
	}
	return map[string]error{isProblem: &command.Exit{Code: command.ExitError}, isWarning: &command.Exit{Code: exitWarnings}}[worst(found)]
}

// look gathers what is to be known and goes through all checks.
func look(ctx context.Context, a *asker, files configured) []Finding {
	f := gather(ctx, a, files)
	return examine(f, checksFor(f))
}

// checksFor are the checks, in the order in which they are shown.
func checksFor(f *facts) []check {
	checks := []check{one("agent", agentAnswers)}
	if f.noAgent == "" {
		checks = append(checks, one("ready", agentReady, fromAgent))
	} else {
		checks = append(checks, stoppedChecks()...)
	}
	return slices.Concat(checks, datacenterChecks(), networkChecks(), agentChecks(), diskChecks(), machineChecks())
}

// stoppedChecks look whether an agent could start.
func stoppedChecks() []check {
	return []check{
		some("configuration", configuration),
		some("ports", freePorts, fromPorts),
		one("data-directory", dataDirectory, fromDisk),
		one("disk-tried", triedSync, fromSyncs, fromSettings),
		some("certificate-files", certificateFiles, fromFiles),
	}
}

// configured is the configuration of files.
type configured struct {
	paths    []string
	config   *config.Config // nil if there is none, or it is wrong
	warnings []string
	err      error
}

// load reads the files that flags name, or those of a package.
func (a *doctorAction) load() configured {
	c := configured{paths: a.paths}
	if len(c.paths) == 0 {
		if _, err := os.Stat(packaged); err == nil {
			c.paths = []string{packaged}
		}
	}
	if len(c.paths) > 0 {
		c.config, c.warnings, c.err = config.Load(config.Sources{Paths: c.paths})
	}
	return c
}

// take has the settings be those of files.
func (f *facts) take(c configured) {
	f.configured = c
	if c.config == nil {
		why := "no configuration is known: say where it is (-config-dir)"
		if c.err != nil {
			why = "the configuration has faults"
		}
		f.lacks[fromSettings], f.lacks[fromFiles] = why, why
		return
	}
	delete(f.lacks, fromSettings)
	g, s := c.config, &f.settings
	s.Datacenter, s.Node, s.DataDir, s.Bind, s.Server, s.Dev = g.Datacenter, g.NodeName, g.DataDir, g.BindAddr, g.Server, g.DevMode
	s.Expect, s.Scripts, s.RetryJoin, s.RetryJoinWAN = g.BootstrapExpect, g.EnableScriptChecks, g.RetryJoin, g.RetryJoinWAN
	s.ACL.Enabled, s.ACL.DefaultPolicy, s.HTTP.WriteFrom = g.ACL.Enabled, g.ACL.DefaultPolicy, g.HTTPConfig.AllowWriteHTTPFrom
	s.Performance.RaftMultiplier = g.Performance.RaftMultiplier
	s.Ports.SerfLAN, s.Ports.SerfWAN, s.Ports.Server, s.Ports.DNS = g.Ports.SerfLAN, g.Ports.SerfWAN, g.Ports.Server, g.Ports.DNS
	s.bound = portsOf(g)
	f.files = certificates.Check(g)
}

// configuration says what is wrong with the files.
func configuration(f *facts) []Finding {
	c := f.configured
	if c.err != nil {
		return []Finding{problem("The configuration has faults: %v", c.err).of(few(slices.Clone(c.paths))).do("legate validate %s shows them.", few(slices.Clone(c.paths)))}
	}
	if c.config == nil {
		return []Finding{skipped("%s", f.lacks[fromSettings])}
	}
	var found []Finding
	for _, w := range c.warnings {
		found = append(found, warning("%s.", w).do("The agent starts all the same; legate validate says so, too."))
	}
	return orFine(found, "The configuration has no faults")
}

package toolcmd

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/version"
)

// buildInfo is what version -format=json prints: Consul's fields with the
// version of its interfaces, which tools compare, and our own release.
type buildInfo struct {
	Version    string
	Revision   string
	Prerelease string
	BuildDate  time.Time
	RPC        protocolRange
	Legate     string
}

type protocolRange struct{ Default, Min, Max int }

func readBuild() buildInfo {
	return buildInfo{Version: version.Consul, Revision: version.Revision(), BuildDate: version.Date(),
		RPC: protocolRange{Default: 2, Min: 2, Max: 3}, Legate: version.Release()}
}

// VersionText is what version and -version print. Scripts take the number that
// they compare from the first line: its second word.
func VersionText() string {
	b := readBuild()
	text := "Consul v" + b.Version + " (its interfaces; this is Legate " + b.Legate + ")"
	if b.Revision != "" {
		text += "\nRevision " + b.Revision
	}
	if !b.BuildDate.IsZero() {
		text += "\nBuild Date " + b.BuildDate.Format(time.RFC3339)
	}
	return fmt.Sprintf("%s\nProtocol %d spoken, %d to %d understood", text, b.RPC.Default, b.RPC.Min, b.RPC.Max)
}

// Version is the command version.
func Version() command.Command {
	return command.Command{
		Name: "version", Synopsis: "Show the version",
		About:   "Shows the version of Consul whose interfaces this program has, by which tools decide what they may use, and the program's own.",
		Example: "legate version -format=json",
		New:     func() command.Action { return &versionAction{} },
	}
}

type versionAction struct{ format string }

func (a *versionAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.format, "format", "pretty", "`pretty|json`.")
}

func (a *versionAction) Run(c *command.Call, _ []string) error {
	switch a.format {
	case "pretty":
		_, err := fmt.Fprintln(c.Stdout, VersionText())
		return err
	case "json":
		return command.JSON(c.Stdout, readBuild())
	}
	return errors.New("unknown -format: use pretty or json")
}

package toolcmd

import (
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/version"
)

// buildInfo is what version -format=json prints; Consul's fields.
type buildInfo struct {
	Version    string
	Revision   string
	Prerelease string
	BuildDate  string
	RPC        protocolRange
}

type protocolRange struct{ Default, Min, Max int }

func readBuild() buildInfo {
	number, prerelease, _ := strings.Cut(version.Release, "-")
	b := buildInfo{Version: number, Prerelease: prerelease, RPC: protocolRange{Default: 2, Min: 2, Max: 3}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.BuildDate = s.Value
		}
	}
	return b
}

func VersionText() string {
	b := readBuild()
	text := "Legate v" + version.Release
	if b.Revision != "" {
		text += "\nRevision " + b.Revision
	}
	if b.BuildDate != "" {
		text += "\nBuild Date " + b.BuildDate
	}
	return text
}

// Version is the command version.
func Version() command.Command {
	return command.Command{
		Name: "version", Synopsis: "Show the version", About: "Shows the version of this program.",
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

package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/legate-project/legate/config"
)

// version is what this source tree is going to be; the revision comes from the
// build.
const version = "0.1.0-dev"

// gossipKeySize is the size of the keys of keygen, for AES-256.
const gossipKeySize = 32

// toolCommands need no agent.
func toolCommands() []row {
	validate := row{name: "validate", synopsis: "Check configuration files and directories", args: "FILE or DIRECTORY...", min: 1, max: -1,
		about: "Reads configuration as an agent would, all arguments together, and reports every fault. Nothing is started.", example: "legate validate /etc/legate.d",
		action: func(*app) action { return &validateAction{} }}
	configtest := validate
	configtest.name, configtest.synopsis = "configtest", "The same as validate"
	configtest.example = "legate configtest /etc/legate.d"
	return []row{
		{name: "keygen", synopsis: "Make a gossip key",
			about:   "Prints a new random key for the configuration key encrypt (flag -encrypt).",
			example: "legate keygen", action: func(*app) action { return keygenAction{} }},
		validate, configtest,
		{name: "version", synopsis: "Show the version", about: "Shows the version of this program.",
			example: "legate version -format=json", action: func(*app) action { return &versionAction{} }},
	}
}

type keygenAction struct{ noFlags }

func (keygenAction) run(c *call, _ []string) error {
	key := make([]byte, gossipKeySize)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	_, err := fmt.Fprintln(c.stdout, base64.StdEncoding.EncodeToString(key))
	return err
}

type validateAction struct {
	format string
	quiet  bool
}

func (a *validateAction) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.format, "config-format", "", "read files as `hcl|json`, whatever their names end in.")
	fs.BoolVar(&a.quiet, "quiet", false, "say nothing if all is well.")
}

func (a *validateAction) run(c *call, args []string) error {
	_, warnings, err := config.Load(config.Sources{Paths: args, Format: a.format})
	for _, w := range warnings {
		fmt.Fprintln(c.stderr, "Warning:", w)
	}
	if err != nil {
		return fmt.Errorf("config validation failed:\n%w", err)
	}
	if !a.quiet {
		fmt.Fprintln(c.stdout, "Configuration is valid!")
	}
	return nil
}

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
	number, prerelease, _ := strings.Cut(version, "-")
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

func versionText() string {
	b := readBuild()
	text := "Legate v" + version
	if b.Revision != "" {
		text += "\nRevision " + b.Revision
	}
	if b.BuildDate != "" {
		text += "\nBuild Date " + b.BuildDate
	}
	return text
}

type versionAction struct{ format string }

func (a *versionAction) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.format, "format", "pretty", "`pretty|json`.")
}

func (a *versionAction) run(c *call, _ []string) error {
	switch a.format {
	case "pretty":
		_, err := fmt.Fprintln(c.stdout, versionText())
		return err
	case "json":
		enc := json.NewEncoder(c.stdout)
		enc.SetIndent("", "    ")
		return enc.Encode(readBuild())
	}
	return errors.New("unknown -format: use pretty or json")
}

// Package toolcmd is what needs no agent: keys, checks of configuration, the version.
package toolcmd

import (
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"

	"github.com/legate-project/legate/agent/certificates"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/config"
)

// gossipKeySize is the size of the keys of keygen, for AES-256.
const gossipKeySize = 32

// Keygen is the command keygen.
func Keygen() command.Command {
	return command.Command{
		Name: "keygen", Synopsis: "Make a gossip key",
		About:   "Prints a new random key for the configuration keys encrypt (flag -encrypt) and encrypt_wan.",
		Example: "legate keygen",
		New:     func() command.Action { return keygenAction{} },
	}
}

type keygenAction struct{ command.NoFlags }

func (keygenAction) Run(c *command.Call, _ []string) error {
	key := make([]byte, gossipKeySize)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	_, err := fmt.Fprintln(c.Stdout, base64.StdEncoding.EncodeToString(key))
	return err
}

// Validate is the command validate.
func Validate() command.Command {
	return validation("validate", "Check configuration files and directories")
}

// Configtest is the command configtest.
func Configtest() command.Command { return validation("configtest", "The same as validate") }

func validation(name, synopsis string) command.Command {
	return command.Command{
		Name: name, Synopsis: synopsis, Args: "FILE or DIRECTORY...", Min: 1, Max: -1,
		About: "Reads configuration as an agent would, all arguments together, and reports every fault. Nothing is started.\n" +
			"What is wrong with files of certificates is a warning: they may be elsewhere.",
		Example: "legate " + name + " /etc/legate.d",
		New:     func() command.Action { return &validateAction{} },
	}
}

type validateAction struct {
	format string
	quiet  bool
}

func (a *validateAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.format, "config-format", "", "read files as `hcl|json`, whatever their names end in.")
	fs.BoolVar(&a.quiet, "quiet", false, "say nothing if all is well.")
}

func (a *validateAction) Run(c *command.Call, args []string) error {
	cfg, warnings, err := config.Load(config.Sources{Paths: args, Format: a.format})
	if err == nil {
		// The files may be on another machine than this one: what is wrong with them
		// ends an agent, and is no fault of the configuration.
		for _, fault := range certificates.Check(cfg) {
			warnings = append(warnings, fault.Error())
		}
	}
	for _, w := range warnings {
		fmt.Fprintln(c.Stderr, "Warning:", w)
	}
	if err != nil {
		return fmt.Errorf("config validation failed:\n%w", err)
	}
	if !a.quiet {
		fmt.Fprintln(c.Stdout, "Configuration is valid!")
	}
	return nil
}

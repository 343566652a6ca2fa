package toolcmd

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/version"
)

// Man is the command man.
func Man() command.Command {
	return command.Command{
		Name: "man", Synopsis: "Write the manual pages", Args: "DIR", Min: 1, Max: 1,
		About:   "Writes a page of the manual for the program and for each command into a folder, which is made if it is not there.",
		Example: "legate man /usr/local/share/man/man1\nman legate-kv-get",
		New:     func() command.Action { return manAction{} },
	}
}

type manAction struct{ command.NoFlags }

func (manAction) Run(c *command.Call, args []string) error {
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return fmt.Errorf("make the folder of the manual: %w", err)
	}
	pages := c.Pages(version.Release())
	for _, page := range pages {
		if err := os.WriteFile(filepath.Join(args[0], page.Name), []byte(page.Text), 0o644); err != nil {
			return fmt.Errorf("write a page of the manual: %w", err)
		}
	}
	fmt.Fprintf(c.Stdout, "%d pages are in %s.\n", len(pages), args[0])
	return nil
}

// Completion is the command completion.
func Completion() command.Command {
	return command.Command{
		Name: "completion", Synopsis: "Print what completes commands in a shell", Args: "bash|zsh|fish", Min: 1, Max: 1,
		About: "Prints what a shell reads to complete commands and flags of this program. -autocomplete-install, which takes no command,\n" +
			"puts it into the files of the shells that are there.",
		Example: "source <(legate completion bash)\nlegate completion zsh >\"${fpath[1]}/_legate\"\nlegate completion fish >~/.config/fish/completions/legate.fish",
		New:     func() command.Action { return completionAction{} },
	}
}

type completionAction struct{ command.NoFlags }

func (completionAction) Run(c *command.Call, args []string) error {
	text, ok := map[string]string{
		"bash": "complete -o nospace -C legate legate\n",
		"zsh":  "#compdef legate\nautoload -U +X bashcompinit && bashcompinit\ncomplete -o nospace -C legate legate\n",
		"fish": `function __legate_complete
    set -lx COMP_LINE (commandline --cut-at-cursor --current-process)
    set -lx COMP_POINT (string length -- "$COMP_LINE")
    legate
end
complete --command legate --no-files --arguments '(__legate_complete)'
`,
	}[args[0]]
	if !ok {
		return fmt.Errorf("%q is no shell that is known: want bash, zsh or fish", args[0])
	}
	_, err := fmt.Fprint(c.Stdout, text)
	return err
}

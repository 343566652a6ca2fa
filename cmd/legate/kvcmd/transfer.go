package kvcmd

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// exportedKey is one key as kv export prints it.
type exportedKey struct {
	Key       string `json:"key"`
	Flags     uint64 `json:"flags"`
	Value     []byte `json:"value"` // base64
	Namespace string `json:"namespace,omitempty"`
	Partition string `json:"partition,omitempty"`
}

// Export is the command kv export.
func Export() command.Command {
	return command.Command{
		Name: "kv export", Synopsis: "Print the keys below a prefix as JSON", Args: "[PREFIX]", Max: 1, Access: command.ToDatacenter,
		About:   "Prints all keys below a prefix, values in base64, in the form that kv import reads.",
		Example: "legate kv export app/ > app.json", New: func() command.Action { return &exportAction{} },
	}
}

type exportAction struct{}

func (a *exportAction) Flags(*flag.FlagSet) {}

func (a *exportAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	prefix := keyArg(args)
	pairs, _, err := client.KV().List(prefix, c.Client.Query())
	if err != nil {
		return fmt.Errorf("read keys below %q: %w", prefix, err)
	}
	out := make([]exportedKey, 0, len(pairs))
	for _, p := range pairs {
		value := p.Value
		if value == nil {
			value = []byte{}
		}
		out = append(out, exportedKey{Key: p.Key, Flags: p.Flags, Value: value})
	}
	enc := json.NewEncoder(c.Stdout)
	enc.SetIndent("", "\t")
	return enc.Encode(out)
}

// Import is the command kv import.
func Import() command.Command {
	return command.Command{
		Name: "kv import", Synopsis: "Write keys from JSON", Args: "DATA, @FILE or -", Min: 1, Max: 1, Access: command.ToDatacenter,
		About:   "Writes what kv export printed: from the argument, a file (@name) or the standard input (-). Existing keys are\noverwritten, others stay.",
		Example: "legate kv import @app.json\nlegate kv export app/ | legate kv import -prefix=copy -", New: func() command.Action { return &importAction{} },
	}
}

type importAction struct{ prefix string }

func (a *importAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.prefix, "prefix", "", "`folder` that the keys are put into.")
}

func (a *importAction) Run(c *command.Call, args []string) error {
	text, err := readArg(c.Stdin, args[0])
	if err != nil {
		return err
	}
	var keys []exportedKey
	if err := json.Unmarshal(text, &keys); err != nil {
		return fmt.Errorf("read the keys as JSON: %w", err)
	}
	for i, k := range keys { // before the first is written
		if strings.Trim(k.Key, "/") == "" {
			return fmt.Errorf("entry %d has no key", i+1)
		}
		if k.Namespace != "" && k.Namespace != "default" || k.Partition != "" && k.Partition != "default" {
			return errors.New("namespaces and partitions are features of Consul Enterprise: take them out of the keys to import")
		}
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	for i, k := range keys {
		key := strings.TrimPrefix(k.Key, "/")
		if a.prefix != "" {
			key = strings.Trim(a.prefix, "/") + "/" + key
		}
		if _, err := client.KV().Put(&api.KVPair{Key: key, Flags: k.Flags, Value: k.Value}, nil); err != nil {
			return fmt.Errorf("write %q, after %d of %d keys: %w", key, i, len(keys), err)
		}
		fmt.Fprintf(c.Stdout, "Imported: %s\n", key)
	}
	return nil
}

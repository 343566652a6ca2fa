package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"
)

// kvTransferCommands take keys out and bring them in.
func kvTransferCommands() []row {
	return []row{
		{name: "kv export", synopsis: "Print the keys below a prefix as JSON", args: "[PREFIX]", max: 1, remote: toDC,
			about:   "Prints all keys below a prefix, values in base64, in the form that kv import reads.",
			example: "legate kv export app/ > app.json", action: func(*app) action { return &kvExport{} }},
		{name: "kv import", synopsis: "Write keys from JSON", args: "DATA, @FILE or -", min: 1, max: 1, remote: toDC,
			about:   "Writes what kv export printed: from the argument, a file (@name) or the standard input (-). Existing keys are\noverwritten, others stay.",
			example: "legate kv import @app.json\nlegate kv export app/ | legate kv import -prefix=copy -", action: func(*app) action { return &kvImport{} }},
	}
}

// exportedKey is one key as kv export prints it.
type exportedKey struct {
	Key       string `json:"key"`
	Flags     uint64 `json:"flags"`
	Value     []byte `json:"value"` // base64
	Namespace string `json:"namespace,omitempty"`
	Partition string `json:"partition,omitempty"`
}

type kvExport struct{}

func (a *kvExport) flags(*flag.FlagSet) {}

func (a *kvExport) run(c *call, args []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	prefix := keyArg(args)
	pairs, _, err := client.KV().List(prefix, c.client.query())
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
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "\t")
	return enc.Encode(out)
}

type kvImport struct{ prefix string }

func (a *kvImport) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.prefix, "prefix", "", "`folder` that the keys are put into.")
}

func (a *kvImport) run(c *call, args []string) error {
	text, err := readArg(c.stdin, args[0])
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
	client, err := c.client.open()
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
		fmt.Fprintf(c.stdout, "Imported: %s\n", key)
	}
	return nil
}

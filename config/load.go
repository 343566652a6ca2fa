package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

const (
	commandLine = "command line" // what messages call the flags
	devFlag     = "-dev"         // the source of what -dev changes
)

// Sources says where a configuration comes from. Later ones win: defaults,
// Paths, the files that Flags name, fragments of -hcl, Flags. Lists grow in
// that order, but those of Flags come first.
type Sources struct {
	// Paths are files and directories.
	Paths []string
	// Format reads all files as hcl or json; empty goes by their names.
	Format string
	// Flags may be nil.
	Flags *Flags
	// Environment is what is asked of the host; the zero value asks the real
	// one.
	Environment Environment
}

// Load reads, merges and validates. The warnings are lines to show to whoever
// starts the agent; they are also given with an error. An error joins all
// faults found, one a line.
func Load(src Sources) (*Config, []string, error) {
	flags := src.Flags
	if flags == nil {
		flags = &Flags{}
	}
	format := src.Format
	if format == "" {
		format = flags.Format
	}
	cfg := &Config{DevMode: flags.Dev}
	v := reflect.ValueOf(cfg).Elem()
	setDefaults(v)
	d := &decoder{set: map[string]string{}}
	if flags.Dev {
		d.read(devFlag, devTree(), v)
	}
	d.read(commandLine, flags.lists, v)
	d.readPaths(append(append([]string(nil), src.Paths...), flags.Paths...), format, v)
	trees, err := flags.fragments()
	d.faultsOf(err)
	for _, tree := range trees {
		d.read("-hcl", tree, v)
	}
	d.read(commandLine, flags.tree, v)
	return d.conclude(cfg, src.Environment)
}

// conclude completes and validates what was decoded. Faults of decoding do
// not keep validation from finding more.
func (d *decoder) conclude(cfg *Config, env Environment) (*Config, []string, error) {
	f := &finisher{cfg: cfg, set: d.set, env: env.orReal(), notes: d.notes, faults: d.faults}
	f.finish()
	f.validate()
	if err := errors.Join(f.faults...); err != nil {
		return nil, f.notes, err
	}
	return cfg, f.notes, nil
}

func (d *decoder) readPaths(paths []string, format string, v reflect.Value) {
	for _, path := range paths {
		files, err := filesOf(path, format)
		d.faultsOf(err)
		for _, file := range files {
			tree, err := readTree(file, format)
			d.faultsOf(err)
			d.read(file, tree, v)
		}
	}
}

func (d *decoder) read(source string, tree map[string]any, v reflect.Value) {
	d.source = source
	d.block("", d.moved(tree), v, marks{})
}

func (d *decoder) faultsOf(err error) {
	if err != nil {
		d.faults = append(d.faults, err)
	}
}

// devTree is what -dev changes of the defaults. Everything may be overridden.
func devTree() map[string]any {
	fast := map[string]any{"gossip_interval": "100ms", "probe_interval": "100ms", "probe_timeout": "100ms", "suspicion_mult": 3}
	return map[string]any{
		"bind_addr":            "127.0.0.1",
		"server":               true,
		"disable_keyring_file": true,
		"ui_config":            map[string]any{"enabled": true},
		"performance":          map[string]any{"raft_multiplier": 1},
		"gossip_lan":           fast,
		"gossip_wan":           fast,
	}
}

// movedKeys are places that keys once had in Consul's configuration.
func movedKeys() [][2]string {
	return [][2]string{
		{"ui", "ui_config.enabled"},
		{"ui_dir", "ui_config.dir"},
		{"ui_content_path", "ui_config.content_path"},
		{"ca_file", "tls.defaults.ca_file"},
		{"ca_path", "tls.defaults.ca_path"},
		{"cert_file", "tls.defaults.cert_file"},
		{"key_file", "tls.defaults.key_file"},
		{"tls_min_version", "tls.defaults.tls_min_version"},
		{"tls_cipher_suites", "tls.defaults.tls_cipher_suites"},
		{"verify_incoming", "tls.defaults.verify_incoming"},
		{"verify_outgoing", "tls.defaults.verify_outgoing"},
		{"verify_incoming_https", "tls.https.verify_incoming"},
		{"verify_incoming_rpc", "tls.internal_rpc.verify_incoming"},
		{"verify_server_hostname", "tls.internal_rpc.verify_server_hostname"},
	}
}

// moved returns the tree with old places replaced by the present ones. What
// stands at the present place already wins.
func (d *decoder) moved(tree map[string]any) map[string]any {
	var out map[string]any
	for _, move := range movedKeys() {
		old, to := move[0], strings.Split(move[1], ".")
		value, ok := tree[old]
		if !ok {
			continue
		}
		if out == nil {
			out = plainCopy(tree)
		}
		delete(out, old)
		d.notes = append(d.notes, fmt.Sprintf("%s: %s is now called %s", d.source, old, move[1]))
		at := out
		for _, part := range to[:len(to)-1] {
			at = child(at, part)
		}
		if last := to[len(to)-1]; at != nil && at[last] == nil {
			at[last] = value
		}
	}
	if out == nil {
		return tree
	}
	return out
}

// child returns a copy of a block that may be written to, placed in its
// parent; nil if the place holds something that is no block.
func child(parent map[string]any, key string) map[string]any {
	if parent == nil {
		return nil
	}
	if parent[key] == nil {
		parent[key] = map[string]any{}
	}
	blocks, ok := blocksOf(parent[key])
	if !ok || len(blocks) == 0 {
		return nil
	}
	last := plainCopy(blocks[len(blocks)-1])
	parent[key] = append(blocks[:len(blocks)-1:len(blocks)-1], last)
	return last
}

func plainCopy(tree map[string]any) map[string]any {
	out := make(map[string]any, len(tree))
	for key, value := range tree {
		out[key] = value
	}
	return out
}

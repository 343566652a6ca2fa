// Package kvcmd reads and writes the key/value store.
package kvcmd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// keyArg takes one leading slash off: keys have none, people type one.
func keyArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return strings.TrimPrefix(args[0], "/")
}

// Get is the command kv get.
func Get() command.Command {
	return command.Command{
		Name: "kv get", Synopsis: "Read a key or the keys below a prefix", Args: "[KEY or PREFIX]", Max: 1, Access: command.ToDatacenter,
		About:   "Prints the value of a key; with -recurse all keys and values below a prefix, with -keys the names only.",
		Example: "legate kv get app/config\nlegate kv get -detailed app/config\nlegate kv get -recurse app/\nlegate kv get -keys -separator=/ app/",
		New:     func() command.Action { return &getAction{} },
	}
}

type getAction struct {
	base64, detailed, keys, recurse bool
	separator                       string
}

func (a *getAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.base64, "base64", false, "print values in base64.")
	fs.BoolVar(&a.detailed, "detailed", false, "show what is stored with the value.")
	fs.BoolVar(&a.keys, "keys", false, "print names only, up to the separator.")
	fs.BoolVar(&a.recurse, "recurse", false, "print everything below the prefix.")
	fs.StringVar(&a.separator, "separator", "/", "`text` that ends a name with -keys.")
}

func (a *getAction) Run(c *command.Call, args []string) error {
	key := keyArg(args)
	if key == "" && !a.keys && !a.recurse {
		return errors.New("missing KEY: only -keys and -recurse do without")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	switch {
	case a.keys:
		return a.list(c, client, key)
	case a.recurse:
		pairs, _, err := client.KV().List(key, c.Client.Query())
		if err != nil {
			return fmt.Errorf("read keys below %q: %w", key, err)
		}
		for i, pair := range pairs {
			if err := a.printPair(c, pair, i > 0); err != nil {
				return err
			}
		}
		return nil
	}
	pair, _, err := client.KV().Get(key, c.Client.Query())
	if err != nil {
		return fmt.Errorf("read %q: %w", key, err)
	}
	if pair == nil {
		return fmt.Errorf("no key exists at: %s", key)
	}
	if a.detailed {
		return a.printPair(c, pair, false)
	}
	_, err = fmt.Fprintln(c.Stdout, a.value(pair))
	return err
}

func (a *getAction) list(c *command.Call, client *api.Client, prefix string) error {
	separator := a.separator
	if a.recurse {
		separator = ""
	}
	keys, _, err := client.KV().Keys(prefix, separator, c.Client.Query())
	if err != nil {
		return fmt.Errorf("list keys below %q: %w", prefix, err)
	}
	for _, key := range keys {
		fmt.Fprintln(c.Stdout, a.name(c, key))
	}
	return nil
}

// name is a key as it is shown: a terminal must not obey it.
func (a *getAction) name(c *command.Call, key string) string {
	if command.IsTerminal(c.Stdout) {
		return command.Printable(key)
	}
	return key
}

func (a *getAction) value(pair *api.KVPair) string {
	if a.base64 {
		return base64.StdEncoding.EncodeToString(pair.Value)
	}
	return string(pair.Value)
}

func (a *getAction) printPair(c *command.Call, pair *api.KVPair, gap bool) error {
	if !a.detailed {
		_, err := fmt.Fprintf(c.Stdout, "%s:%s\n", a.name(c, pair.Key), a.value(pair))
		return err
	}
	if gap {
		fmt.Fprintln(c.Stdout)
	}
	session := pair.Session
	if session == "" {
		session = "-"
	}
	rows := [][]string{
		{"CreateIndex", strconv.FormatUint(pair.CreateIndex, 10)},
		{"Flags", strconv.FormatUint(pair.Flags, 10)},
		{"Key", a.name(c, pair.Key)},
		{"LockIndex", strconv.FormatUint(pair.LockIndex, 10)},
		{"ModifyIndex", strconv.FormatUint(pair.ModifyIndex, 10)},
		{"Session", session},
	}
	for _, r := range rows {
		fmt.Fprintf(c.Stdout, "%-17s%s\n", r[0], r[1])
	}
	_, err := fmt.Fprintf(c.Stdout, "%-17s%s\n", "Value", a.value(pair))
	return err
}

// Put is the command kv put.
func Put() command.Command {
	return command.Command{
		Name: "kv put", Synopsis: "Write a key", Args: "KEY [VALUE]", Min: 1, Max: 2, Access: command.ToDatacenter,
		About:   "Writes a value: as given, from a file (@name) or from the standard input (-). Without a value it is empty.",
		Example: "legate kv put app/config 5\nlegate kv put app/config @config.json\necho 5 | legate kv put app/config -\nlegate kv put -cas -modify-index=44 app/config 6",
		New:     func() command.Action { return &putAction{} },
	}
}

type putAction struct {
	cas, base64, acquire, release bool
	modifyIndex, valueFlags       uint64
	session                       string
}

func (a *putAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.cas, "cas", false, "write only if the key has not changed since -modify-index; 0 means that it does not exist.")
	fs.BoolVar(&a.base64, "base64", false, "the value is given in base64.")
	fs.BoolVar(&a.acquire, "acquire", false, "lock the key for -session.")
	fs.BoolVar(&a.release, "release", false, "give the lock of -session back.")
	fs.Uint64Var(&a.modifyIndex, "modify-index", 0, "`index` for -cas.")
	fs.Uint64Var(&a.valueFlags, "flags", 0, "`number` kept with the value.")
	fs.StringVar(&a.session, "session", "", "`ID` of the session for -acquire and -release.")
}

func (a *putAction) check() error {
	modes := 0
	for _, on := range []bool{a.cas, a.acquire, a.release} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return errors.New("only one of -cas, -acquire and -release may be given")
	case a.modifyIndex != 0 && !a.cas:
		return errors.New("-modify-index is for -cas")
	case (a.acquire || a.release) && a.session == "":
		return errors.New("-acquire and -release need -session")
	case a.session != "" && !a.acquire && !a.release:
		return errors.New("-session is for -acquire and -release")
	}
	return nil
}

func (a *putAction) Run(c *command.Call, args []string) error {
	if err := a.check(); err != nil {
		return err
	}
	key := keyArg(args)
	if key == "" {
		return errors.New("missing KEY")
	}
	value, err := a.read(c, args[1:])
	if err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	pair := &api.KVPair{Key: key, ModifyIndex: a.modifyIndex, Flags: a.valueFlags, Value: value, Session: a.session}
	ok, done, refused := true, "Data written to: ", ""
	switch {
	case a.cas:
		ok, _, err = client.KV().CAS(pair, nil)
		refused = "did not write to " + key + ": CAS failed"
	case a.acquire:
		ok, _, err = client.KV().Acquire(pair, nil)
		done, refused = "Lock acquired on: ", "did not acquire lock on "+key
	case a.release:
		ok, _, err = client.KV().Release(pair, nil)
		done, refused = "Lock released on: ", "did not release lock on "+key
	default:
		_, err = client.KV().Put(pair, nil)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", key, err)
	}
	if !ok {
		return errors.New(refused)
	}
	fmt.Fprintf(c.Stdout, "Success! %s%s\n", done, key)
	return nil
}

// read gets the value from where the argument says.
func (a *putAction) read(c *command.Call, args []string) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	value, err := readArg(c.Stdin, args[0])
	if err != nil || !a.base64 {
		return value, err
	}
	decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(value)))
	if err != nil {
		return nil, fmt.Errorf("read the value as base64: %w", err)
	}
	return decoded, nil
}

func readArg(stdin io.Reader, arg string) ([]byte, error) {
	switch {
	case arg == "-":
		value, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read the value from the standard input: %w", err)
		}
		return value, nil
	case strings.HasPrefix(arg, "@"):
		value, err := os.ReadFile(arg[1:])
		if err != nil {
			return nil, fmt.Errorf("read the value from a file: %w", err)
		}
		return value, nil
	}
	return []byte(arg), nil
}

// Delete is the command kv delete.
func Delete() command.Command {
	return command.Command{
		Name: "kv delete", Synopsis: "Delete a key or all keys below a prefix", Args: "KEY or PREFIX", Min: 1, Max: 1, Access: command.ToDatacenter,
		About:   "Deletes a key, or with -recurse all keys that begin with a prefix.",
		Example: "legate kv delete app/config\nlegate kv delete -recurse app/\nlegate kv delete -cas -modify-index=44 app/config",
		New:     func() command.Action { return &deleteAction{} },
	}
}

type deleteAction struct {
	cas, recurse bool
	modifyIndex  uint64
}

func (a *deleteAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.cas, "cas", false, "delete only if the key has not changed since -modify-index.")
	fs.BoolVar(&a.recurse, "recurse", false, "delete everything below the prefix.")
	fs.Uint64Var(&a.modifyIndex, "modify-index", 0, "`index` for -cas.")
}

func (a *deleteAction) Run(c *command.Call, args []string) error {
	key := keyArg(args)
	switch {
	case key == "" && !a.recurse:
		return errors.New("missing KEY")
	case a.cas && a.recurse:
		return errors.New("-cas and -recurse exclude each other")
	case a.cas != (a.modifyIndex != 0):
		return errors.New("-cas and -modify-index (above 0) are given together")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	switch {
	case a.recurse:
		if _, err := client.KV().DeleteTree(key, nil); err != nil {
			return fmt.Errorf("delete keys below %q: %w", key, err)
		}
		fmt.Fprintf(c.Stdout, "Success! Deleted keys with prefix: %s\n", key)
		return nil
	case a.cas:
		ok, _, err := client.KV().DeleteCAS(&api.KVPair{Key: key, ModifyIndex: a.modifyIndex}, nil)
		if err != nil {
			return fmt.Errorf("delete %q: %w", key, err)
		}
		if !ok {
			return fmt.Errorf("did not delete key %s: CAS failed", key)
		}
	default:
		if _, err := client.KV().Delete(key, nil); err != nil {
			return fmt.Errorf("delete %q: %w", key, err)
		}
	}
	fmt.Fprintf(c.Stdout, "Success! Deleted key: %s\n", key)
	return nil
}

// Package snapshotcmd saves, restores and looks at snapshots of a datacenter's state.
// What is saved is verified before it gets its name, what is restored before it is
// sent.
package snapshotcmd

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/archive/consulsnap"
	"github.com/legate-project/legate/state/archive/inspect"
)

// Save is the command snapshot save.
func Save() command.Command {
	return command.Command{
		Name: "snapshot save", Synopsis: "Save a snapshot of the datacenter's state", Args: "FILE", Min: 1, Max: 1, Access: command.ToDatacenter,
		About: "Saves all that the servers hold: catalog, keys, sessions and the rest, secrets included. The file is written beside,\n" +
			"verified, and then put in its place, readable for its owner only.",
		Example: "legate snapshot save backup.snap\nlegate snapshot save -append-filename=version,dc,node,status backup.snap\nlegate snapshot save -stale backup.snap",
		New:     func() command.Action { return &saveAction{} },
	}
}

type saveAction struct{ append string }

func (a *saveAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.append, "append-filename", "", "`list` of what is put into the file's name, of version, dc, node and status.")
}

func (a *saveAction) Run(c *command.Call, args []string) (err error) {
	for _, part := range a.parts() {
		if !strings.Contains(" version dc node status ", " "+part+" ") {
			return fmt.Errorf("-append-filename has %q: want a list of version, dc, node and status", part)
		}
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	in, _, err := client.Snapshot().Save(c.Client.Query())
	if err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	defer in.Close()
	file, err := os.CreateTemp(filepath.Dir(args[0]), ".snapshot-*") // for its owner only
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	shown := newProgress(c.Stderr, "saved")
	if _, err = io.Copy(io.MultiWriter(file, shown), in); err != nil {
		return fmt.Errorf("receive the snapshot: %w", err)
	}
	shown.end()
	meta, err := verify(file)
	if errors.Is(err, archive.ErrConsul) { // the server that was asked is one
		var report *consulsnap.Report
		if report, err = consul(file, nil); err == nil {
			meta = archive.Meta{Version: report.Version, Datacenter: report.Datacenter, Index: report.LastIndex}
		}
	}
	if err != nil {
		return fmt.Errorf("verify what was saved: %w", err)
	}
	path := a.name(args[0], client, meta)
	if err = errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "Saved and verified snapshot to index %d: %s\n", meta.Index, path)
	return err
}

func (a *saveAction) parts() []string {
	if a.append == "" {
		return nil
	}
	return strings.Split(a.append, ",")
}

// name puts the parts before the extension.
func (a *saveAction) name(path string, client *api.Client, m archive.Meta) string {
	ext := filepath.Ext(path)
	name := strings.TrimSuffix(path, ext)
	for _, part := range a.parts() {
		value := map[string]string{"version": m.Version, "dc": m.Datacenter, "node": m.Node}[part]
		if part == "status" {
			value = serverStatus(client, m)
		}
		name += "-" + strings.ReplaceAll(value, string(filepath.Separator), "_") // a server's words name no folder
	}
	return name + ext
}

// serverStatus says what the server that made the snapshot is.
func serverStatus(client *api.Client, m archive.Meta) string {
	raft, err := client.Operator().RaftGetConfiguration(&api.QueryOptions{Datacenter: m.Datacenter, AllowStale: true})
	if err != nil {
		return "unknown"
	}
	for _, s := range raft.Servers {
		if s.Leader && s.Node == m.Node {
			return "leader"
		}
	}
	return "follower"
}

func verify(file io.ReadSeeker) (archive.Meta, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return archive.Meta{}, err
	}
	return archive.Verify(file)
}

// Restore is the command snapshot restore.
func Restore() command.Command {
	return command.Command{
		Name: "snapshot restore", Synopsis: "Restore a snapshot", Args: "FILE", Min: 1, Max: 1, Access: command.ToDatacenter,
		About: "Replaces the state of the datacenter by that of a snapshot. A damaged one is refused before anything changes.\n" +
			"Snapshots of Consul are taken as well; what of one is left out is said.",
		Example: "legate snapshot restore backup.snap", New: func() command.Action { return &restoreAction{} },
	}
}

type restoreAction struct{}

func (a *restoreAction) Flags(*flag.FlagSet) {}

func (a *restoreAction) Run(c *command.Call, args []string) error {
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = verify(file) // before it goes over the network
	var foreign *consulsnap.Report
	if errors.Is(err, archive.ErrConsul) {
		foreign, err = consul(file, nil)
	}
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	shown := newProgress(c.Stderr, "sent")
	if err := client.Snapshot().Restore(&api.WriteOptions{Datacenter: c.Client.Datacenter}, io.TeeReader(file, shown)); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	shown.end()
	if foreign == nil {
		_, err = fmt.Fprintln(c.Stdout, "Restored snapshot")
		return err
	}
	text := fmt.Sprintf("Restored snapshot of Consul %s. Left out:\n", foreign.Version)
	for _, line := range foreign.LeftOut() {
		text += "  " + line + "\n"
	}
	_, err = io.WriteString(c.Stdout, text)
	return err
}

// consul reads a snapshot of Consul from its beginning.
func consul(file io.ReadSeeker, key func(string, int)) (*consulsnap.Report, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return consulsnap.Inspect(file, key)
}

// Inspect is the command snapshot inspect.
func Inspect() command.Command {
	return command.Command{
		Name: "snapshot inspect", Synopsis: "Show what a snapshot holds", Args: "FILE", Min: 1, Max: 1,
		About: "Verifies a snapshot and prints when and where it was made and how much of what is in it. Of one of Consul it says\n" +
			"what would be taken over and what is left out.",
		Example: "legate snapshot inspect backup.snap\nlegate snapshot inspect -kvdetails -kvdepth=1 backup.snap", New: func() command.Action { return &inspectAction{} },
	}
}

type inspectAction struct {
	inspect.Options
	format string
}

func (a *inspectAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.KVDetails, "kvdetails", false, "count keys by prefix.")
	fs.IntVar(&a.KVDepth, "kvdepth", 2, "`number` of parts that a prefix has, with -kvdetails.")
	fs.StringVar(&a.KVFilter, "kvfilter", "", "only keys with this `prefix`, with -kvdetails.")
	fs.StringVar(&a.format, "format", "pretty", "`pretty|json`.")
}

func (a *inspectAction) Run(c *command.Call, args []string) error {
	if a.format != "pretty" && a.format != "json" {
		return errors.New("unknown -format: use pretty or json")
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	report, err := inspect.Archive(file, a.Options)
	if errors.Is(err, archive.ErrConsul) {
		return a.foreign(c, file)
	}
	if err != nil {
		return err
	}
	if a.format == "pretty" {
		return report.Write(c.Stdout)
	}
	return command.JSON(c.Stdout, report)
}

// foreign shows a snapshot of Consul.
func (a *inspectAction) foreign(c *command.Call, file io.ReadSeeker) error {
	keys := inspect.NewPrefixes(a.Options)
	report, err := consul(file, keys.Add)
	if err != nil {
		return err
	}
	if a.format == "json" {
		return command.JSON(c.Stdout, struct {
			*consulsnap.Report
			KV []inspect.Prefix `json:",omitempty"`
		}{report, keys.List()})
	}
	if err := report.Write(c.Stdout); err != nil {
		return err
	}
	return keys.Write(c.Stdout)
}

// Decode is the command snapshot decode.
func Decode() command.Command {
	return command.Command{
		Name: "snapshot decode", Synopsis: "Print the records of a snapshot", Args: "FILE", Min: 1, Max: 1,
		About:   "Prints each record as a line of JSON, secrets included; bytes are in base64. - reads the standard input.",
		Example: "legate snapshot decode backup.snap", New: func() command.Action { return decodeAction{} },
	}
}

type decodeAction struct{}

func (decodeAction) Flags(*flag.FlagSet) {}

func (decodeAction) Run(c *command.Call, args []string) error {
	in := c.Stdin
	if args[0] != "-" {
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	err := inspect.Decode(bufio.NewReader(in), c.Stdout)
	if errors.Is(err, archive.ErrConsul) {
		return errors.New("it is a snapshot of Consul: snapshot inspect shows what is in it")
	}
	return err
}

// progress shows on a terminal how much has passed; elsewhere nothing.
type progress struct {
	w     io.Writer // nil without a terminal
	what  string
	began time.Time
	shown time.Time
	bytes int64
}

// progressEvery is how often progress is shown, after as long at the start.
const progressEvery = 500 * time.Millisecond

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, began: time.Now(), shown: time.Now()}
	if command.IsTerminal(w) {
		p.w = w
	}
	return p
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	if p.w != nil && time.Since(p.shown) >= progressEvery {
		p.shown = time.Now()
		fmt.Fprintf(p.w, "\r%s %.1f MiB in %s", p.what, float64(p.bytes)/(1<<20), time.Since(p.began).Round(100*time.Millisecond))
	}
	return len(b), nil
}

func (p *progress) end() {
	if p.w != nil && p.shown.Sub(p.began) >= progressEvery {
		fmt.Fprintln(p.w)
	}
}

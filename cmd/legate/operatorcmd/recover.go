package operatorcmd

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/legate-project/legate/agent/recovery"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/consensus"
)

// Recover is the command recover.
func Recover() command.Command {
	return command.Command{
		Name: "recover", Synopsis: "Have a server go on after the majority of a datacenter's servers is lost for good",
		About: "Looks into the data directory of a server that does not run and says what its disks hold. Do that with each directory that is\n" +
			"left: the one with the highest term, and among those the highest index, has the most. With -alone, or -peer for each server that is\n" +
			"to go on, the file raft/peers.json is written, which the agent follows once when it starts. What only lost disks held is lost then.\n" +
			"Start the other servers of the old group with empty data directories: two of them with the old ones would be a majority of their own.",
		Example: "legate recover -data-dir=/var/lib/legate\nlegate recover -data-dir=/var/lib/legate -alone",
		New:     func() command.Action { return &recoverGroup{} },
	}
}

type recoverGroup struct {
	dir, address, format string
	alone                bool
	peers                []consensus.Server
}

func (a *recoverGroup) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.dir, "data-dir", "", "the `directory` that the agent has as its -data-dir.")
	fs.BoolVar(&a.alone, "alone", false, "have this server go on alone; others join it afterwards.")
	fs.StringVar(&a.address, "address", "", "with -alone: the `address`, host:port, at which the others reach its Raft. Default: the one that the disks have.")
	fs.Func("peer", "a server that is to go on, as `ID=host:port`; once for each, this one among them. All need the same file: copy it.", func(text string) error {
		id, address, ok := strings.Cut(text, "=")
		if !ok || id == "" || address == "" {
			return errors.New("want ID=host:port, as legate recover shows them for each directory")
		}
		a.peers = append(a.peers, consensus.Server{ID: strings.ToLower(id), Address: address, Voter: true})
		return nil
	})
	fs.StringVar(&a.format, "format", "pretty", "`format` of what is shown: pretty or json.")
}

func (a *recoverGroup) Run(c *command.Call, _ []string) error {
	switch {
	case a.dir == "":
		return errors.New("say which data directory: -data-dir")
	case a.alone && len(a.peers) > 0, a.address != "" && !a.alone:
		return errors.New("either -alone, to which -address belongs, or -peer for each server")
	case a.format != "pretty" && a.format != "json":
		return fmt.Errorf("-format=%s is neither pretty nor json", a.format)
	}
	s, err := recovery.Look(a.dir)
	if err != nil {
		return err
	}
	if a.format == "json" {
		err = command.JSON(c.Stdout, s)
	} else {
		err = show(c, s)
	}
	if err != nil || !a.alone && len(a.peers) == 0 {
		return err
	}
	group := a.peers
	if a.alone {
		self := consensus.Server{ID: s.ID, Address: a.address, Voter: true}
		for _, known := range s.Servers {
			if self.Address == "" && known.ID == s.ID {
				self.Address = known.Address
			}
		}
		if self.Address == "" {
			return errors.New("the disks do not have the address of this server: say it with -address=host:port (port 8300 as a rule)")
		}
		group = []consensus.Server{self}
	}
	file, err := s.Write(group)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Stderr, "\nWrote %s. Start the agent: it follows the file once and removes it. Remove it yourself to change your mind.\n", file)
	return nil
}

// show says what the disks hold, and what to compare.
func show(c *command.Call, s *recovery.Server) error {
	n := func(i uint64) string { return strconv.FormatUint(i, 10) }
	rows := [][]string{
		{"Data directory", s.Dir}, {"Server", command.Printable(s.Node)}, {"ID", s.ID}, {"Datacenter", command.Printable(s.Datacenter)},
		{"Last term", n(s.Term)}, {"Last index", n(s.Index)}, {"State up to index", n(s.Applied)},
	}
	if s.Applied < s.Index { // it is written to disk now and then, and made of the log at the start
		rows[len(rows)-1][1] += " (the log has the rest)"
	}
	if err := command.Table(c.Stdout, rows); err != nil {
		return err
	}
	if s.Index == 0 {
		_, err := fmt.Fprintln(c.Stdout, "\n"+consensus.ErrNoState.Error()+".")
		return err
	}
	fmt.Fprintf(c.Stdout, "\nThe consensus group since index %d:\n", s.ConfigurationIndex)
	group, voters := [][]string{{"ID", "Address", "Voter", ""}}, 0
	for _, srv := range s.Servers {
		mark := ""
		if srv.ID == s.ID {
			mark = "this server"
		}
		if srv.Voter {
			voters++
		}
		group = append(group, []string{srv.ID, srv.Address, strconv.FormatBool(srv.Voter), mark})
	}
	if err := command.Table(c.Stdout, group); err != nil {
		return err
	}
	if voters == 1 && len(s.Servers) == 1 && s.Servers[0].ID == s.ID {
		fmt.Fprintln(c.Stdout, "\nThis server goes on alone when it is started: it needs no recovery.")
		return nil
	}
	fmt.Fprintf(c.Stdout, "\n%d of these %d voters make a majority. Can as many still be started with what they had? Then start them: nothing needs\nrecovery. "+
		"If not, this directory has everything that the lost ones had only if no other shows a term above %d, or\nthis term and an index above %d: have the one that shows the most go on.\n",
		voters/2+1, voters, s.Term, s.Index)
	return nil
}

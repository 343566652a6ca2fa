// Command bench measures a running datacenter of real processes against bare
// servers of the same kind, in the same run on the same machine, and prints a
// table of rates and their ratios.
//
// Absolute figures say little on a shared machine; the ratios are what counts.
// All traffic stays on loopback, every load is bounded in time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// settings of one run.
type settings struct {
	legate  string        // binary under test
	seconds time.Duration // each load
	conns   int
	rtt     time.Duration
	servers int    // of each datacenter of the wan suite
	agents  int    // of the scale suite
	keys    int    // of the large suite
	write   string // file whose table is replaced
	only    string
}

func main() {
	if len(os.Args) > 2 {
		for as, run := range map[string]func([]string) error{"bare": serveBare, "flood": floodAs} { // this program, as the server or the load beside
			if os.Args[1] != as {
				continue
			}
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "Error:", err)
				os.Exit(1)
			}
			return
		}
	}
	var s settings
	flag.StringVar(&s.legate, "legate", "bin/legate", "`binary` to measure.")
	flag.DurationVar(&s.seconds, "time", 5*time.Second, "`duration` of each load.")
	flag.IntVar(&s.conns, "conns", 64, "`number` of connections of each load.")
	flag.DurationVar(&s.rtt, "rtt", 80*time.Millisecond, "emulated round `trip` between datacenters.")
	flag.IntVar(&s.servers, "servers", 1, "`number` of servers in each datacenter of the wan suite.")
	flag.IntVar(&s.agents, "agents", 2000, "`number` of client agents of the scale suite.")
	flag.IntVar(&s.keys, "keys", 10_000_000, "`number` of keys of the large suite.")
	flag.StringVar(&s.write, "write", "", "replace the table in this `file`.")
	flag.StringVar(&s.only, "only", "", "run only the `suite`: http, own, catalog, state, stalls, access, pauses, wan, gateways, dns or idle; or scale, federation or large, which run only so.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// settle leaves the next suite a disk that has nothing left to write.
func (b *bench) settle() error {
	entries, err := os.ReadDir(b.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.dir, e.Name())))
	}
	syscall.Sync()
	return err
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "legate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{settings: s, dir: dir}
	defer b.stopAll()
	suites := []struct {
		name string
		run  func(context.Context) error
		long bool
	}{{"idle", b.idle, false}, {"http", b.http, false}, {"own", b.own, false}, {"catalog", b.catalog, false}, {"state", b.state, false}, {"stalls", b.stalls, false}, {"dns", b.dns, false},
		{"access", b.access, false}, {"pauses", b.pauses, false}, {"wan", b.wan, false}, {"gateways", b.gateways, false}, {"scale", b.scale, true}, {"federation", b.federation, true}, {"large", b.large, true}}
	for _, suite := range suites {
		if s.only != suite.name && (s.only != "" || suite.long) {
			continue
		}
		if err := suite.run(ctx); err != nil {
			return fmt.Errorf("suite %s: %w", suite.name, err)
		}
		b.stopAll()
		if err := b.settle(); err != nil {
			return err
		}
	}
	table := b.table()
	fmt.Print(table)
	if s.write != "" {
		if err := replaceTable(s.write, table); err != nil {
			return err
		}
	}
	if b.missed {
		return errors.New("a bar was missed")
	}
	return nil
}

//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// database is a PostgreSQL that Patroni looks after, beside a client agent.
type database struct {
	*proctest.Process
	agent *node
	dir   string // of its data and configuration; belongs to the user postgres
}

// TestPatroniFailsOver loses the primary of a PostgreSQL cluster: the name of
// the primary moves to the one that was promoted, and the lost one comes back
// under the name of the replicas.
func TestPatroniFailsOver(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"patroni", "dig", "unshare", "setpriv"} {
		program(t, name)
	}
	if _, err := os.Stat(filepath.Join(postgresPrograms, "postgres")); err != nil {
		missing(t, "Debian's package postgresql-15")
	}
	if os.Geteuid() != 0 {
		missing(t, "the user root, who runs programs as another user,")
	}
	h := proctest.Loopback(t)
	server := start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	var dbs []*database
	for i := range 2 {
		agent := start(t, spec{host: h, name: fmt.Sprint("c", i+1), dc: "dc1", ip: h.Addr(1, i+2), lan: []string{server.ip}})
		proctest.Until(t, patience, agent.name+" reaches the server", func() error { return agent.put("ready", "", "") })
		dbs = append(dbs, newDatabase(t, agent))
	}
	first, second := dbs[0], dbs[1]
	first.start(t)
	named(t, server, "master", first)
	second.start(t)
	named(t, server, "replica", second)
	named(t, server, "master", first)
	named(t, server, "primary", first)

	first.Kill()
	took := named(t, server, "master", second)
	t.Logf("the name of the primary moved %s after it died", took.Round(time.Millisecond))
	named(t, server, "primary", second)
	named(t, server, "replica")
	if got := server.dig(t, "master.pg.service.consul", "SRV"); !strings.HasPrefix(got, "1 1 5432 ") || strings.Contains(got, "\n") {
		t.Errorf("SRV records of the primary: %s", got)
	}
	second.holds(t, "pg/b", "master", "primary")
	proctest.Tool(t, h, "CREATE TABLE written (after int)", filepath.Join(postgresPrograms, "psql"), "-h", second.agent.ip, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "postgres")

	first.start(t)
	named(t, server, "replica", first)
	named(t, server, "master", second)
	first.holds(t, "pg/a", "replica")
}

// postgresPrograms is where Debian puts what is not in anybody's path.
const postgresPrograms = "/usr/lib/postgresql/15/bin"

// newDatabase prepares a member of the cluster pg: a beside the first agent, b
// beside the second.
func newDatabase(t *testing.T, agent *node) *database {
	t.Helper()
	owner, err := user.Lookup("postgres")
	must(t, "find the user postgres", err)
	// The test's own folder is closed to others.
	dir, err := os.MkdirTemp("", "legate-pg-")
	must(t, "make a folder", err)
	t.Cleanup(func() { must(t, "remove the folder", os.RemoveAll(dir)) })
	uid, err := strconv.Atoi(owner.Uid)
	must(t, "read the user's number", err)
	must(t, "give the folder away", os.Chown(dir, uid, -1))
	name := map[string]string{"c1": "a", "c2": "b"}[agent.name]
	must(t, "write the configuration", os.WriteFile(filepath.Join(dir, "patroni.yml"), fmt.Appendf(nil, `
scope: pg
name: %[1]s
restapi: {listen: "%[2]s:8008", connect_address: "%[2]s:8008"}
consul: {host: "%[2]s:8500", register_service: true, service_check_interval: 1s}
bootstrap:
  dcs:
    {ttl: 20, loop_wait: 1, retry_timeout: 3, postgresql: {use_pg_rewind: true, remove_data_directory_on_diverged_timelines: true}}
  initdb: [{encoding: UTF8}, {auth: trust}]
  pg_hba: [local all all trust, host all all 127.0.0.0/8 trust, host replication all 127.0.0.0/8 trust]
postgresql:
  listen: "%[2]s:5432"
  connect_address: "%[2]s:5432"
  data_dir: %[3]s/data
  bin_dir: %[4]s
  pgpass: %[3]s/pgpass
  authentication: {superuser: {username: postgres, password: a}, replication: {username: copy, password: b}}
  parameters: {unix_socket_directories: %[3]s, shared_buffers: 16MB, fsync: "off"}
`, name, agent.ip, dir, postgresPrograms), 0o644))
	return &database{agent: agent, dir: dir}
}

// start starts Patroni, which starts PostgreSQL, in a process namespace of
// their own: with the first process die all.
func (d *database) start(t *testing.T) {
	t.Helper()
	d.Process = proctest.StartTool(t, d.agent.host, "patroni of "+d.agent.name, program(t, "unshare"), "--fork", "--pid", "--mount-proc", "--kill-child",
		"sh", "-c", "cd / && setpriv --reuid=postgres --regid=postgres --init-groups patroni "+d.dir+"/patroni.yml; exit")
}

// holds waits until the catalog has an instance with a role, healthy.
func (d *database) holds(t *testing.T, id string, tags ...string) {
	t.Helper()
	proctest.Until(t, patience, "the catalog has the role", func() error {
		list, _, err := d.agent.client.Health().Service("pg", "", true, nil)
		if err != nil {
			return err
		}
		for _, entry := range list {
			if entry.Service.ID == id && entry.Node.Node == d.agent.name && slices.Equal(entry.Service.Tags, tags) {
				return nil
			}
		}
		return fmt.Errorf("%s with the tags %v is not among %d healthy instances", id, tags, len(list))
	})
}

// named waits until the DNS has exactly some databases under the name of a
// role.
func named(t *testing.T, at *node, role string, dbs ...*database) time.Duration {
	t.Helper()
	var want []string
	for _, d := range dbs {
		want = append(want, d.agent.ip)
	}
	name := role + ".pg.service.consul"
	return proctest.Until(t, 2*patience, name+" has moved", func() error {
		var got []string
		if answer := at.dig(t, name); answer != "" {
			got = strings.Fields(answer)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("it has %v, want %v", got, want)
		}
		return nil
	})
}

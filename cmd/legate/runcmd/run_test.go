package runcmd

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{Lock(), Watch(), Exec(), Event()}
}

const pair = `[{"LockIndex":2,"Key":"a/b","Flags":7,"Value":"aGVsbG8=","Session":"","CreateIndex":5,"ModifyIndex":9}]`

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "watch -type=key -key=a/b", Answers: commandtest.Answers{"GET /v1/agent/self": "{}", "GET /v1/kv/a/b": pair},
			Out: "{\n    \"Key\": \"a/b\",\n    \"CreateIndex\": 5,\n    \"ModifyIndex\": 9,\n    \"LockIndex\": 2,\n    \"Flags\": 7,\n    \"Value\": \"aGVsbG8=\",\n    \"Session\": \"\"\n}\n"},
		{Args: "watch -type=service -service=web -tag=a -tag=b -passingonly true -filter=x -stale -datacenter=dc2", Code: 1, Err: "404",
			Asked: "GET /v1/health/service/web?dc=dc2&filter=x&passing=1&stale=&tag=a,b"},
		{Args: "watch -type=checks -state=critical", Answers: commandtest.Answers{"GET /v1/agent/self": "{}", "GET /v1/health/state/critical": "[]"}, Out: "[]\n"},
		{Args: "watch -type=services", Answers: commandtest.Answers{"GET /v1/agent/self": "{}", "GET /v1/catalog/services": `{"web":["a"]}`}, Out: "{\n    \"web\": [\n        \"a\"\n    ]\n}\n"},
		{Args: "watch -type=event -name=e -stale", Code: 1, Err: "404", Asked: "GET /v1/event/list?name=e"},
		{Args: "event -name=deploy 1.2", Answers: commandtest.Answers{"PUT /v1/event/fire/deploy": `{"ID":"id-1"}`}, Out: "Event ID: id-1\n"},
		{Args: "event -name=deploy -datacenter=all -service=web", Answers: commandtest.Answers{"PUT /v1/event/fire/deploy": `{"ID":"id-1","Datacenters":[{"Datacenter":"dc1"},{"Datacenter":"dc2"}]}`},
			Asked: "PUT /v1/event/fire/deploy?dc=all&service=web", Out: "Event ID: id-1\nTold: dc1, dc2\n"},
		{Args: "event -name=deploy -datacenter=dc1,dc2", Answers: commandtest.Answers{"PUT /v1/event/fire/deploy": `{"ID":"id-1","Datacenters":[{"Datacenter":"dc1"},{"Datacenter":"dc2","Error":"away"}]}`},
			Code: 1, Err: "(ID id-1) was told in dc1 and not in dc2: away"},
		{Args: "watch", Code: 1, Err: `-type is "": want one of checks, event, key, keyprefix`},
		{Args: "watch -type=keyprefix", Code: 1, Err: "-type=keyprefix needs -prefix"},
		{Args: "watch -type=nodes -service=x", Code: 1, Err: "-service does not go with -type=nodes"},
		{Args: "watch -type=service -service=x -passingonly=maybe", Code: 1, Err: "want true or false"},
		{Args: "watch -type=checks -service=x -state=any", Code: 1, Err: "only one of -service and -state"},
	})
}

// oneKey is an agent that knows one key. A question with an index waits until
// the key is newer.
type oneKey struct {
	mu      sync.Mutex
	index   uint64
	value   string
	fail    int // answer this code
	changed chan struct{}
}

func newKey() *oneKey { return &oneKey{index: 1, changed: make(chan struct{})} }

func (k *oneKey) set(value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.index++
	k.value = value
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *oneKey) state() (uint64, string, int, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.index, k.value, k.fail, k.changed
}

func (k *oneKey) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/agent/self" {
		_, _ = io.WriteString(w, "{}")
		return
	}
	after, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	for {
		index, value, fail, changed := k.state()
		switch {
		case fail != 0:
			http.Error(w, "cannot", fail)
			return
		case index > after:
			w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
			fmt.Fprintf(w, `[{"Key":"k","Value":%q}]`, value)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func TestWatchRunsTheCommandForEachStateOneAtATime(t *testing.T) {
	dir := t.TempDir()
	door := filepath.Join(dir, "door")
	if err := syscall.Mkfifo(door, 0o600); err != nil {
		t.Skip("no pipes with names here:", err)
	}
	key := newKey()
	f := commandtest.Follow(t, commands(), key, "watch", "-type=key", "-key=k", fmt.Sprintf("mkdir %s/busy && cat && echo at $CONSUL_INDEX && read x <%s; rmdir %s/busy", dir, door, dir))
	open := func() {
		t.Helper()
		if err := os.WriteFile(door, []byte("go\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.Expect(f.Out, `"Key":"k"`)
	f.Expect(f.Out, "at 1")
	key.set("YQ==") // while the command runs
	open()
	f.Expect(f.Out, `"Value":"YQ=="`)
	f.Expect(f.Out, "at 2")
	open()
	key.set("Yg==")
	f.Expect(f.Out, `"Value":"Yg=="`)
	f.Expect(f.Out, "at 3")
	f.Signals <- syscall.SIGTERM // ends the command, too: its door is closed
	f.ExpectExit(0)
}

func TestWatchEndsWithItsCommand(t *testing.T) {
	f := commandtest.Follow(t, commands(), newKey(), "watch", "-type=key", "-key=k", "exit 3")
	f.Expect(f.Err, "Error: run the command: exit status 3")
	f.ExpectExit(1)
	f = commandtest.Follow(t, commands(), newKey(), "watch", "-type=key", "-key=k", "-shell=false", "echo", "a b", "$HOME")
	f.Expect(f.Out, "a b $HOME")
	f.Signals <- syscall.SIGINT
	f.ExpectExit(0)
}

// alive says whether a process runs. One that nobody has buried does not.
func alive(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return syscall.Kill(pid, 0) == nil && !strings.Contains(string(stat), ") Z ")
}

func TestNothingOfTheCommandOutlivesWatch(t *testing.T) {
	t.Parallel()
	f := commandtest.Follow(t, commands(), newKey(), "watch", "-type=key", "-key=/k", "trap '' TERM; sleep 1000 & echo $!; wait")
	var pid int
	select {
	case line := <-f.Out:
		pid, _ = strconv.Atoi(line)
	case <-time.After(commandtest.Patience):
	}
	if pid == 0 || !alive(pid) {
		t.Fatalf("the command runs no process %d", pid)
	}
	f.Signals <- syscall.SIGINT
	f.ExpectExit(0)
	deadline := time.NewTimer(commandtest.Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("process %d outlives watch", pid)
		}
	}
}

func TestWatchWaitsForTheAgentAndSaysSo(t *testing.T) {
	key := newKey()
	key.fail = http.StatusInternalServerError
	f := commandtest.Follow(t, commands(), key, "watch", "-type=key", "-key=k", "cat")
	f.Expect(f.Err, "Warning: the agent answered 500: cannot")
	f.Expect(f.Err, "The next try is in 5s.")
	f.Signals <- syscall.SIGINT
	f.ExpectExit(0)

	key.fail = http.StatusForbidden
	f = commandtest.Follow(t, commands(), key, "watch", "-type=key", "-key=k", "cat")
	f.Expect(f.Err, "Error: the agent answered 403: cannot")
	f.ExpectExit(1)

	key.fail = http.StatusInternalServerError // who only wants to see it does not wait
	f = commandtest.Follow(t, commands(), key, "watch", "-type=key", "-key=k")
	f.Expect(f.Err, "Error: the agent answered 500: cannot")
	f.ExpectExit(1)
}

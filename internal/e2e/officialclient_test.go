//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

const (
	// clientTestsVar asks for all of the client's tests when it is "all".
	clientTestsVar = "LEGATE_CLIENT_TESTS"
	// officialClient is the module whose tests judge, at the version of go.mod.
	officialClient = "github.com/hashicorp/consul/api"
	// oneClientTest bounds one of them.
	oneClientTest = 2 * time.Minute
)

// shortFormClientTests are those that run every time: one or two of each area.
func shortFormClientTests() []string {
	return []string{
		"TestAPI_AgentSelf", "TestAPI_AgentMetrics", "TestAPI_AgentMonitor", "TestAPI_AgentMonitorJSON", "TestAPI_AgentJoin", "TestAPI_AgentChecks",
		"TestAPI_CatalogServices_FilterExpr_NodeMeta", "TestAPI_CatalogRegistration", "TestAPI_HealthService", "TestAPI_HealthState_Filter",
		"TestAPI_ClientWatchGet", "TestAPI_ClientAcquireRelease", "TestAPI_ClientTxn", "TestAPI_SessionCreateRenewDestroy", "TestAPI_EventFireList",
		"TestAPI_CoordinateNodes", "TestAPI_PreparedQuery", "TestAPI_ACLBootstrap", "TestAPI_ACLToken_CreateReadDelete", "TestAPI_StatusLeader", "TestAPI_OperatorRaftGetConfiguration", "TestAPI_OperatorAutopilotServerHealth", "TestAPI_OperatorAutopilotCASConfiguration", "TestAPI_OperatorUsage", "TestAPI_OperatorKeyringInstallListPutRemove", "TestAPI_LockLockUnlock", "TestAPI_SemaphoreAcquireRelease",
	}
}

// TestTheOfficialClientsOwnTests runs the tests of the official client, as they
// are, with the program under the name that they start. Those that
// testdata/clients/official.txt lists fail, for the reason that stands there; no
// other does, and each of these does.
func TestTheOfficialClientsOwnTests(t *testing.T) {
	folder := t.TempDir()
	must(t, "link", os.Symlink(os.Getenv(proctest.BinaryVar), filepath.Join(folder, "consul")))
	binary := filepath.Join(folder, "api.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, officialClient).CombinedOutput(); err != nil {
		t.Fatalf("compile the client's tests: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), binary, "-test.list", "^Test").Output()
	must(t, "list the client's tests", err)
	names, expected := strings.Fields(string(out)), expectedFailures(t)
	for name := range expected {
		if !slices.Contains(names, name) {
			t.Errorf("official.txt lists %s, which is not there", name)
		}
	}
	if os.Getenv(clientTestsVar) != "all" {
		for _, name := range shortFormClientTests() {
			if !slices.Contains(names, name) || expected[name] != "" {
				t.Errorf("%s is to run every time, and is not there or fails", name)
			}
		}
		names = shortFormClientTests()
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, err := clientTest(t, folder, name)
			if err != nil && expected[name] == "" { // their own times are short for a busy machine
				t.Logf("again, after %v:\n%s", err, tailOf(said))
				said, err = clientTest(t, folder, name)
			}
			switch {
			case err != nil && expected[name] == "":
				t.Errorf("%v:\n%s", err, tailOf(said))
			case err == nil && expected[name] != "":
				t.Errorf("passes, but official.txt says that it fails (%s)", expected[name])
			}
		})
	}
}

// clientTest runs one of the client's tests and returns what it wrote.
func clientTest(t *testing.T, folder, name string) (said []byte, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), oneClientTest)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(folder, "api.test"), "-test.v", "-test.run", "^"+name+"$")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the agents that it starts go with it
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	said, err = cmd.CombinedOutput()
	if cmd.Process != nil {
		if killed := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); killed != nil && !errors.Is(killed, syscall.ESRCH) {
			t.Errorf("end what %s left behind: %v", name, killed)
		}
	}
	return said, err
}

// tailOf is the end of what a test wrote.
func tailOf(said []byte) []byte { return said[max(0, len(said)-4000):] }

// expectedFailures reads the list: a name and the reason in each line.
func expectedFailures(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "clients", "official.txt"))
	must(t, "open the list", err)
	defer f.Close()
	list := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok || list[name] != "" {
			t.Fatalf("official.txt: no reason, or twice: %q", line)
		}
		list[name] = strings.TrimSpace(reason)
	}
	must(t, "read the list", lines.Err())
	return list
}

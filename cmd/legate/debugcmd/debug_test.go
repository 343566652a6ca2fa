package debugcmd

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{Info(), Monitor(), Debug(), Show()}
}

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "info", Answers: commandtest.Answers{"GET /v1/agent/self": `{"Stats":{"raft":{"term":"2","commit_index":"5"},"agent":{"checks":"0"}}}`},
			Out: "agent:\n\tchecks = 0\nraft:\n\tcommit_index = 5\n\tterm = 2\n"},
		{Args: "info", Answers: commandtest.Answers{"GET /v1/agent/self": `{}`}, Code: 1, Err: "reports nothing"},
		{Args: "monitor", Answers: commandtest.Answers{"GET /v1/agent/monitor": "500!no"}, Code: 1, Err: "the agent answered 500: no"},
		{Args: "debug -interval=10ms", Code: 1, Err: "want at least 100ms"},
		{Args: "debug -interval=10s -duration=5s", Code: 1, Err: "shorter than -interval"},
		{Args: "debug -since=-1h", Code: 1, Err: "want a time above zero"},
		{Args: "debug -capture=all", Code: 1, Err: `-capture is "all": want one of agent, host`},
	})
}

func TestMonitor(t *testing.T) {
	end := make(chan struct{})
	asked := make(chan string, 2)
	agent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		fmt.Fprint(w, "one\n\ntwo\n")
		w.(http.Flusher).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	f := commandtest.Follow(t, commands(), agent, "monitor", "-log-level=debug", "-log-json")
	f.Expect(asked, "/v1/agent/monitor?logjson=true&loglevel=debug")
	f.Expect(f.Out, "one")
	f.Expect(f.Out, "")
	f.Expect(f.Out, "two")
	f.Signals <- syscall.SIGINT
	f.ExpectExit(0)

	f = commandtest.Follow(t, commands(), agent, "monitor")
	f.Expect(asked, "/v1/agent/monitor?loglevel=INFO")
	f.Expect(f.Out, "one")
	close(end)
	f.Expect(f.Err, "the agent ended the stream")
	f.ExpectExit(1)
}

// debugged are the answers of an agent with a secret in many places.
func debugged(logFile string) commandtest.Answers {
	return commandtest.Answers{
		"GET /v1/agent/self": `{"Config":{"NodeName":"n1","Version":"9.9"},"DebugConfig":{"log_file":"` + logFile + `","encrypt":"SECRET","acl":{"token_ttl":"30s",
			"tokens":{"agent":"SECRET"}},"services":[{"name":"web","token":"SECRET","checks":[{"header":{"X-Key":["SECRET"]},"body":"SECRET"}]}],"telemetry":{"otlp_headers":{"x":"SECRET"}}},
			"Stats":{"serf_lan":{"encrypted":"true"},"raft":{"term":"7"}}}`,
		"GET /v1/status/leader":     `"10.0.0.1:8300"`,
		"GET /v1/federation/status": `[{"Datacenter":"dc1","Links":[{"Datacenter":"dc2","State":"unreachable","Breaker":"open","Views":4}]},{"Datacenter":"dc2","Error":"cut"}]`,
		"GET /v1/agent/host":        `{"Host":{"os":"linux"}}`, "GET /v1/agent/members": `[{"Name":"n1","Status":1},{"Name":"n2","Status":4}]`, "GET /v1/operator/raft/configuration": `{"Servers":[]}`,
		"GET /v1/agent/metrics": `{"Gauges":[{"Value":1}]}`, "GET /v1/agent/monitor": "line one\nline two\n",
		"GET /debug/pprof/heap": "heap", "GET /debug/pprof/goroutine": "goroutine", "GET /debug/pprof/profile": "profile", "GET /debug/pprof/trace": "trace",
	}
}

// unpack reads an archive of debug that only its owner may read.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive's mode is %v, %v", info.Mode(), err)
	}
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	archive := tar.NewReader(zip)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil || header.Mode != 0o600 {
			t.Errorf("%s: mode %o, %v", header.Name, header.Mode, err)
		}
		files[header.Name] = string(text)
	}
}

func TestDebug(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"l.log", "l-1.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("in "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "l-1.log"), old, old); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "x")
	r := commandtest.Run(t, commands(), debugged(filepath.Join(dir, "l.log")), "", "debug", "-duration=250ms", "-interval=100ms", "-since=10m", "-output="+out)
	if r.Code != 0 || !strings.Contains(r.Out, "Saved debug archive: "+out+".tar.gz") {
		t.Fatalf("code %d: %s%s", r.Code, r.Out, r.Err)
	}
	// A cut must not hold up the interval, so others are asked for their views at the begin only.
	for _, want := range []string{"GET /v1/federation/status?stale=", "GET /v1/federation/status?local=", "GET /v1/agent/metrics?stale=", "GET /v1/agent/metrics?format=prometheus"} {
		if !slices.Contains(r.Asked, want) {
			t.Errorf("%q was not asked: %q", want, r.Asked)
		}
	}
	files := unpack(t, out+".tar.gz")
	for name, want := range map[string]string{"agent.json": `"token_ttl": "30s"`, "host.json": "linux", "members.json": "n1", "raft.json": "Servers", "legate.log": "line one\nline two\n",
		"metrics.json": "{\"Gauges\":[{\"Value\":1}]}\n{\"Gauges\"", "profile.prof": "profile", "trace.prof": "trace", "heap-000.prof": "heap", "goroutine-001.prof": "goroutine", "file-l.log": "in l.log",
		"federation.json": `"State": "unreachable"`, "members-wan.json": `"Name": "n2"`, "metrics-first.prom": "Gauges", "metrics-last.prom": "Gauges",
		"timeline.json": `"Leader":"10.0.0.1:8300","Stats":{"raft":{"term":"7"},"serf_lan":{"encrypted":"true"}},"Federation":[{"Datacenter":"dc2","State":"unreachable","Breaker":"open",`} {
		if got := files["x/"+name]; !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, text := range files {
		if strings.Contains(text, "SECRET") || strings.Contains(name, "l-1") {
			t.Errorf("%s should not be there:\n%s", name, text)
		}
	}
	if lines := strings.Split(strings.TrimSpace(files["x/timeline.json"]), "\n"); len(lines) < 2 || !strings.Contains(lines[0], `"Views":4`) || !strings.Contains(lines[0], `"Members":{"n2":"failed"}`) {
		t.Errorf("the timeline is %q", lines)
	}
	if !strings.Contains(files["x/agent.json"], `"encrypted": "true"`) {
		t.Errorf("what is no secret is hidden: %s", files["x/agent.json"])
	}
	var index debugIndex
	if err := json.Unmarshal([]byte(files["x/index.json"]), &index); err != nil || index.Node != "n1" || index.AgentVersion != "9.9" || index.End.Before(index.Begin) || index.Files["host.json"] != int64(len(files["x/host.json"])) {
		t.Errorf("the index is %+v, %v", index, err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left behind: %v", err)
	}
	if r := commandtest.Run(t, commands(), debugged(""), "", "debug", "-output="+out); r.Code != 1 || !strings.Contains(r.Err, "choose another -output") {
		t.Errorf("over an archive: code %d: %s", r.Code, r.Err)
	}
}

func TestDebugSaysWhatItCouldNotCollect(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	r := commandtest.Run(t, commands(), commandtest.Answers{"GET /v1/agent/self": `{}`, "GET /v1/agent/host": "403!Permission denied"}, "", "debug",
		"-duration=100ms", "-interval=100ms", "-capture=host", "-capture=pprof", "-capture=cluster", "-since=1s", "-archive=false", "-output="+out)
	for _, want := range []string{"not collected: host: the agent answered 403: Permission denied", "they take enable_debug", "members: the agent answered 404", "set log_file"} {
		if !strings.Contains(r.Err, want) {
			t.Errorf("%q is not said: %s", want, r.Err)
		}
	}
	index, err := os.ReadFile(filepath.Join(out, "index.json"))
	if r.Code != 0 || err != nil || !strings.Contains(string(index), "Permission denied") {
		t.Errorf("code %d, the index is %s, %v", r.Code, index, err)
	}
	if r := commandtest.Run(t, commands(), nil, "", "debug", "-output="+out+"2"); r.Code != 1 {
		t.Errorf("without an agent: code %d", r.Code)
	} else if _, err := os.Stat(out + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory is left behind: %v", err)
	}
}

func TestAnInterruptedDebugKeepsWhatItHas(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	f := commandtest.Follow(t, commands(), debugged(""), "debug", "-duration=1h", "-capture=metrics", "-output="+out)
	f.Expect(f.Out, "Collecting from node n1 for 1h0m0s")
	f.Signals <- syscall.SIGINT
	f.Expect(f.Out, "Saved debug archive")
	f.ExpectExit(0)
	if files := unpack(t, out+".tar.gz"); files["x/index.json"] == "" {
		t.Errorf("the archive has %v", files)
	}
}

// An agent that hangs is what evidence is wanted of.
func TestAnInterruptEndsADebugOfAnAgentThatHangs(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	hung := make(chan string, 8)
	end := make(chan struct{})
	defer close(end)
	agent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/agent/self" {
			fmt.Fprint(w, `{"Config":{"NodeName":"n1"}}`)
			return
		}
		hung <- r.URL.Path
		<-end
	})
	f := commandtest.Follow(t, commands(), agent, "debug", "-duration=1h", "-capture=pprof", "-output="+out)
	f.Expect(hung, "/debug/pprof/goroutine")
	f.Signals <- syscall.SIGINT
	f.Expect(f.Err, "pprof: the agent had not answered when the collection ended")
	f.ExpectExit(0)
	if files := unpack(t, out+".tar.gz"); files["x/index.json"] == "" {
		t.Errorf("the archive has %v", files)
	}
}

func TestDebugKeepsTheArchiveWhateverTheOutputIsCalled(t *testing.T) {
	for _, name := range []string{"a/", "b.tar.gz", "./c/."} {
		dir := t.TempDir()
		r := commandtest.Run(t, commands(), debugged(""), "", "debug", "-duration=100ms", "-interval=100ms", "-capture=host", "-output="+dir+"/"+name)
		found, err := filepath.Glob(dir + "/*")
		if want := filepath.Join(dir, strings.Trim(strings.TrimSuffix(name, ".tar.gz"), "./")+".tar.gz"); r.Code != 0 || err != nil || !slices.Equal(found, []string{want}) {
			t.Errorf("-output=%s: code %d: %s; there is %q, %v", name, r.Code, r.Err, found, err)
		}
	}
}

func TestSecretsWithinTexts(t *testing.T) {
	for text, want := range map[string]string{
		"https://bob:SECRET@db.example:80/x":          "https://(hidden)@db.example:80/x",
		"http://a/b?api_key=SECRET&c=d":               "http://a/b?api_key=(hidden)&c=d",
		"provider=aws secret_access_key=SECRET tag=x": "provider=aws secret_access_key=(hidden) tag=x",
		"X-Consul-Token: SECRET":                      "X-Consul-Token: (hidden)",
		"authorization: Bearer SECRET x":              "authorization: (hidden) x",
		"tcp://[::1]:8300":                            "tcp://[::1]:8300",
		"a token of esteem":                           "a token of esteem",
	} {
		if got := withoutSecrets([]any{text}).([]any)[0]; got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := withoutSecrets(map[string]any{"db_passwd": "SECRET", "apikey": "SECRET"}); strings.Contains(fmt.Sprint(got), "SECRET") {
		t.Errorf("it is %v", got)
	}
}

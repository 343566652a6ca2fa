// Package commandtest runs commands against agents that tests make up.
package commandtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/lifecycle"
)

// Patience is how long something may take that must happen.
const Patience = 10 * time.Second

// Answers is an agent that answers the requests it knows ("GET /v1/path") with
// canned text and everything else with 404. A text such as "403!Permission
// denied" is an error. What stands under "of" it says of datacenters.
type Answers map[string]string

// ServeHTTP implements http.Handler.
func (a Answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if of := a["of"]; of != "" {
		w.Header().Set("X-Legate-Datacenters", of)
	}
	answer, ok := a[r.Method+" "+r.URL.Path]
	if code, text, failed := strings.Cut(answer, "!"); failed && len(code) == 3 {
		status := map[string]int{"403": 403, "500": 500, "503": 503}[code]
		http.Error(w, text, status)
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, answer)
}

// recorder keeps what an agent is asked.
type recorder struct {
	agent http.Handler

	mu    sync.Mutex
	asked []string
}

func (c *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	query := r.URL.Query()
	keys := make([]string, 0, len(query))
	for key, values := range query {
		keys = append(keys, key+"="+strings.Join(values, ","))
	}
	sort.Strings(keys)
	c.mu.Lock()
	c.asked = append(c.asked, strings.TrimSpace(fmt.Sprintf("%s %s?%s %s", r.Method, r.URL.Path, strings.Join(keys, "&"), body)))
	c.mu.Unlock()
	c.agent.ServeHTTP(w, r)
}

// Result is what became of a command.
type Result struct {
	Code     int
	Out, Err string
	Asked    []string // "METHOD /path?query body", the query sorted
}

// Run runs the program with these commands against an agent with these answers.
func Run(t *testing.T, commands []command.Command, answers Answers, stdin string, args ...string) Result {
	t.Helper()
	agent := &recorder{agent: answers}
	server := httptest.NewServer(agent)
	defer server.Close()
	t.Setenv("CONSUL_HTTP_ADDR", server.URL)
	var out, errs bytes.Buffer
	p := &command.Program{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Notify: func(chan<- os.Signal, ...os.Signal) {}, Version: "Legate v0", Commands: commands}
	return Result{Code: p.Run(args), Out: out.String(), Err: errs.String(), Asked: agent.asked}
}

// Case is a command and what is to become of it.
type Case struct {
	Args    string // separated by spaces
	Answers Answers
	Stdin   string
	Code    int
	Out     string // exact, if the code is 0
	Err     string // contained
	Asked   string // contained in one of the requests
}

// Check runs each case.
func Check(t *testing.T, commands []command.Command, cases []Case) {
	for _, c := range cases {
		t.Run(c.Args, func(t *testing.T) {
			r := Run(t, commands, c.Answers, c.Stdin, strings.Fields(c.Args)...)
			if r.Code != c.Code || (c.Code == 0 && r.Out != c.Out) || !strings.Contains(r.Err, c.Err) {
				t.Errorf("code %d, want %d\nout: %q\nwant %q\nerr: %q\nwant %q", r.Code, c.Code, r.Out, c.Out, r.Err, c.Err)
			}
			if c.Code != 0 && r.Out != "" {
				t.Errorf("an error is no result: %q", r.Out)
			}
			if c.Asked != "" && !strings.Contains(strings.Join(r.Asked, "\n"), c.Asked) {
				t.Errorf("asked %q, want %q", r.Asked, c.Asked)
			}
		})
	}
}

// Following is a command that goes on until it is told to end.
type Following struct {
	t        *testing.T
	Out, Err chan string // line by line
	Signals  chan<- os.Signal
	code     chan int
}

// Follow begins to run a command against an agent and returns when it listens to
// signals.
func Follow(t *testing.T, commands []command.Command, agent http.Handler, args ...string) *Following {
	t.Helper()
	server := httptest.NewServer(agent)
	t.Cleanup(server.Close)
	got := make(chan chan<- os.Signal, 1)
	f := &Following{t: t, Out: make(chan string, 100), Err: make(chan string, 100), code: make(chan int, 1)}
	p := &command.Program{Stdin: strings.NewReader(""), Stdout: &lines{to: f.Out}, Stderr: &lines{to: f.Err},
		Notify: func(c chan<- os.Signal, _ ...os.Signal) { got <- c }, Commands: commands}
	args = slices.Insert(args, 1, "-http-addr="+server.URL)
	work := lifecycle.New("command under test")
	if err := work.Spawn("run", func(context.Context) { f.code <- p.Run(args) }); err != nil {
		t.Fatal(err)
	}
	select {
	case f.Signals = <-got:
	case <-time.After(Patience):
		t.Fatal("does not start")
	}
	return f
}

// Expect wants the next line to contain a text.
func (f *Following) Expect(from <-chan string, want string) {
	f.t.Helper()
	select {
	case line := <-from:
		if !strings.Contains(line, want) {
			f.t.Fatalf("said %q, want %q", line, want)
		}
	case <-time.After(Patience):
		f.t.Fatalf("did not say %q", want)
	}
}

// ExpectExit wants the command to end with a code.
func (f *Following) ExpectExit(code int) {
	f.t.Helper()
	select {
	case got := <-f.code:
		if got != code {
			f.t.Fatalf("exit code %d, want %d", got, code)
		}
	case <-time.After(Patience):
		f.t.Fatal("does not end")
	}
}

// lines is a writer that hands on line by line.
type lines struct {
	rest string
	to   chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		l.to <- line
	}
}

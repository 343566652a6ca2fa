package watches

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/logging"
)

func TestDefinitions(t *testing.T) {
	for name, c := range map[string]struct {
		json string
		want string // part of the error, "" for none
	}{
		"arguments":          {`{"type":"key","key":"a","args":["/bin/true","x"]}`, ""},
		"a line":             {`{"type":"keyprefix","prefix":"a/","handler":"cat > /dev/null"}`, ""},
		"as HCL blocks come": {`{"type":"services","handler_type":"http","http_handler_config":[{"path":"http://127.0.0.1:1/x","header":[{"a":["b"]}],"timeout":"1s"}]}`, ""},
		"passingonly":        {`{"type":"service","service":"web","passingonly":"true","tag":["a"],"handler":"true"}`, ""},
		"no type":            {`{"key":"a","handler":"x"}`, "watches[0]: Watch type"},
		"unknown type":       {`{"type":"weather","handler":"x"}`, "weather"},
		"no key":             {`{"type":"key","handler":"x"}`, "key"},
		"unknown parameter":  {`{"type":"key","key":"a","handler":"x","colour":"red"}`, "colour"},
		"no handler":         {`{"type":"key","key":"a"}`, "names no handler"},
		"both":               {`{"type":"key","key":"a","handler":"x","args":["y"]}`, "either args or handler"},
		"no list":            {`{"type":"key","key":"a","args":"y"}`, "args is no list"},
		"numbers":            {`{"type":"key","key":"a","args":[1]}`, "args[0]"},
		"unknown handler":    {`{"type":"key","key":"a","handler_type":"pigeon","args":["y"]}`, "pigeon"},
		"no URL":             {`{"type":"key","key":"a","handler_type":"http","http_handler_config":{"path":"/x"}}`, "want a URL"},
		"passingonly maybe":  {`{"type":"service","service":"web","passingonly":"maybe","handler":"x"}`, "passingonly"},
	} {
		var d map[string]any
		if err := json.Unmarshal([]byte(c.json), &d); err != nil {
			t.Fatal(err)
		}
		_, err := Parse([]map[string]any{d})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// store is the HTTP interface of an agent with one key.
type store struct {
	*httptest.Server
	mu      sync.Mutex
	value   string
	index   int
	changed chan struct{}
	asked   atomic.Int64
}

func newStore(t *testing.T) *store {
	s := &store{index: 1, value: "first", changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *store) set(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = value
	s.index++
	close(s.changed)
	s.changed = make(chan struct{})
}

// ServeHTTP implements http.Handler.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	s.mu.Lock()
	index, changed := s.index, s.changed
	s.mu.Unlock()
	if r.FormValue("index") == "1" && index == 1 || r.FormValue("index") == "2" && index == 2 {
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := json.Marshal([]*api.KVPair{{Key: "a", Value: []byte(s.value)}})
	w.Header().Set("X-Consul-Index", string(rune('0'+s.index)))
	_, _ = w.Write(b)
}

func begin(t *testing.T, s *store) *Watches {
	t.Helper()
	w := New(Config{Log: logging.Discard(), Client: func(string, string) (*api.Client, error) {
		return api.NewClient(&api.Config{Address: s.URL})
	}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

func set(t *testing.T, w *Watches, definitions ...map[string]any) {
	t.Helper()
	all, err := Parse(definitions)
	if err == nil {
		err = w.Set(t.Context(), all)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatal("not within 5 s: " + what)
}

func TestScriptRunsAfterEachChange(t *testing.T) {
	s := newStore(t)
	w := begin(t, s)
	file := filepath.Join(t.TempDir(), "seen")
	d := map[string]any{"type": "key", "key": "a", "handler": `(echo "at $CONSUL_INDEX"; cat) >> ` + file}
	set(t, w, d)
	seen := func(text string) func() bool {
		return func() bool { b, _ := os.ReadFile(file); return strings.Contains(string(b), text) }
	}
	until(t, "the state at the start", seen(`"Value":"Zmlyc3Q="`))
	s.set("second")
	until(t, "the change", seen("at 2\n"))

	asked := s.asked.Load()
	set(t, w, d, map[string]any{"type": "key", "key": "a", "handler": "false"})
	until(t, "the new one asks", func() bool { return s.asked.Load() > asked })
	if b, _ := os.ReadFile(file); strings.Count(string(b), "at 2\n") != 1 {
		t.Errorf("a watch that stays was begun again:\n%s", b)
	}
	set(t, w)
	s.set("third")
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(file); strings.Contains(string(b), "at 3") {
		t.Error("a watch that was taken away ran")
	}
}

func TestStateIsSentToAServer(t *testing.T) {
	s := newStore(t)
	got := make(chan string, 8)
	to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			t.Error("a connection is kept that outlives the watch")
		}
		b, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.Header.Get("X-Consul-Index") + " " + r.Header.Get("X-A") + " " + string(b)
		w.WriteHeader(http.StatusTeapot) // a failure does not end the watch
	}))
	defer to.Close()
	set(t, begin(t, s), map[string]any{"type": "key", "key": "a", "handler_type": "http",
		"http_handler_config": map[string]any{"path": to.URL, "header": map[string]any{"X-A": []any{"b"}}}})
	for _, want := range []string{"POST 1 b {", "POST 2 b {"} {
		select {
		case text := <-got:
			if !strings.HasPrefix(text, want) || !strings.Contains(text, `"Key":"a"`) {
				t.Errorf("got %q, want %q", text, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("nothing came")
		}
		s.set("second")
	}
}

func TestAScriptEndsWithTheWatch(t *testing.T) {
	s := newStore(t)
	w := begin(t, s)
	file := filepath.Join(t.TempDir(), "begun")
	set(t, w, map[string]any{"type": "key", "key": "a", "args": []any{"sh", "-c", "touch " + file + "; sleep 60"}})
	until(t, "the script has begun", func() bool { _, err := os.Stat(file); return err == nil })
	start := time.Now()
	if err := w.Stop(t.Context()); err != nil || time.Since(start) > grace+2*time.Second {
		t.Errorf("it ended after %s: %v", time.Since(start), err)
	}
}

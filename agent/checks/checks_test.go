package checks

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/config"
)

func TestHTTPStatus(t *testing.T) {
	hang := make(chan struct{})
	mux := http.NewServeMux()
	for path, code := range map[string]int{"/ok": 204, "/busy": 429, "/bad": 500, "/missing": 404} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	mux.HandleFunc("/flood", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", maxHTTPHeader))
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", http.StatusFound) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(r.Method + " " + r.Header.Get("X-Test") + " " + r.Host))
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer close(hang)
	for _, c := range []struct {
		def    config.CheckDefinition
		path   string
		status string
		output string
	}{
		{config.CheckDefinition{}, "/ok", Passing, "204"},
		{config.CheckDefinition{}, "/busy", Warning, "429"},
		{config.CheckDefinition{}, "/bad", Critical, "500"},
		{config.CheckDefinition{}, "/missing", Critical, "404"},
		{config.CheckDefinition{}, "/flood", Passing, "200"},
		{config.CheckDefinition{}, "/headers", Critical, "header"},
		{config.CheckDefinition{}, "/hang", Critical, "deadline"},
		{config.CheckDefinition{}, "/moved", Critical, "500"},
		{config.CheckDefinition{DisableRedirects: true}, "/moved", Critical, "302"},
		{config.CheckDefinition{Method: "put", Header: map[string][]string{"X-Test": {"yes"}, "Host": {"web.example"}}}, "/echo", Passing, "PUT yes web.example"},
	} {
		c.def.HTTP = srv.URL + c.path
		p, err := newHTTP(&c.def)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		r := p.Probe(ctx)
		cancel()
		if r.Status != c.status || !strings.Contains(r.Output, c.output) || len(r.Output) > DefaultOutput+200 {
			t.Errorf("%s: %s %.200q, want %s with %q", c.path, r.Status, r.Output, c.status, c.output)
		}
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := newTCP(&config.CheckDefinition{TCP: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Probe(t.Context()); r.Status != Passing {
		t.Errorf("open port: %+v", r)
	}
	l.Close()
	if r := p.Probe(t.Context()); r.Status != Critical {
		t.Errorf("closed port: %+v", r)
	}
}

func TestThresholds(t *testing.T) {
	g := newThresholds(&config.CheckDefinition{SuccessBeforePassing: 2, FailuresBeforeWarning: 2, FailuresBeforeCritical: 3})
	var got []string
	for _, s := range strings.Fields("p p c c c c p p") {
		r, ok := g.pass(Result{Status: map[string]string{"p": Passing, "c": Critical}[s]})
		if !ok {
			r.Status = "-"
		}
		got = append(got, r.Status)
	}
	if want := "- passing - warning critical critical - passing"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		def  config.CheckDefinition
		want string
	}{
		{config.CheckDefinition{Name: "a"}, "no kind"},
		{config.CheckDefinition{Name: "a", TTL: time.Second, HTTP: "http://x"}, "both"},
		{config.CheckDefinition{Name: "a", HTTP: "http://x"}, "Interval"},
		{config.CheckDefinition{Name: "a", HTTP: "ftp://x", Interval: time.Second}, "URL"},
		{config.CheckDefinition{Name: "a", TCP: "x", Interval: time.Second}, "host:port"},
		{config.CheckDefinition{Name: "a", TTL: time.Second}, ""},
		{config.CheckDefinition{Name: "a", Args: []string{"true"}, DockerContainerID: "c", Interval: time.Second}, ""},
		{config.CheckDefinition{Name: "a", DockerContainerID: "c", Interval: time.Second}, "needs args"},
		{config.CheckDefinition{Name: "a", DockerContainerID: "c", TCP: "x:1", Interval: time.Second}, "both tcp and docker"},
		{config.CheckDefinition{Name: "a", TTL: time.Second, Interval: time.Second}, "a TTL and an Interval"},
		{config.CheckDefinition{Name: "a", TTL: time.Second, OutputMaxSize: -1}, "OutputMaxSize is -1"},
		{config.CheckDefinition{Name: "a", TTL: -5 * time.Second}, "TTL is -5s"},
		{config.CheckDefinition{Name: "a", TTL: time.Second, FailuresBeforeCritical: -1}, "negative"},
	} {
		err := Validate(&c.def)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.def, err, c.want)
		}
	}
}

func TestTTLExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got Result
		ttl := NewTTL(10*time.Second, func(r Result) { got = r })
		defer ttl.Stop()
		ttl.Seen("fine")
		<-time.After(9 * time.Second) // virtual time
		synctest.Wait()
		if got.Status != "" {
			t.Fatalf("expired early: %+v", got)
		}
		ttl.Seen("still fine")
		<-time.After(11 * time.Second)
		synctest.Wait()
		if got.Status != Critical || got.Output != "TTL expired (last output before timeout follows): still fine" {
			t.Errorf("%+v", got)
		}
	})
}

func TestTTLFromBeforeAClockWasSetBackIsNotGoodForLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got Result
		ttl := NewTTL(10*time.Second, func(r Result) { got = r })
		defer ttl.Stop()
		ttl.Resume("old", time.Now().Add(100*time.Hour).Round(0))
		<-time.After(11 * time.Second)
		synctest.Wait()
		if got.Status != Critical {
			t.Errorf("still good: %+v, until %v", got, ttl.Until())
		}
	})
}

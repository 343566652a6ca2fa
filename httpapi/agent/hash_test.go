package agent

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheHashOfAServiceIsTheSameAfterARestart(t *testing.T) {
	const body = `{"Name":"web","Port":80,"Tags":["a"],"Meta":{"x":"1","y":"2"},"TaggedAddresses":{"lan":{"Address":"a","Port":1},"wan":{"Address":"b","Port":2}}}`
	var hashes [2]string
	for i := range hashes {
		w := start(t)
		w.register(t, "", body)
		hashes[i] = w.Do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
	}
	if hashes[0] != hashes[1] || hashes[0] == "" {
		t.Errorf("hashes: %v", hashes)
	}
}

func TestWaitForAHashEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.register(t, "", `{"Name":"web"}`)
		hash := w.Do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
		answer := make(chan *httptest.ResponseRecorder, 1)
		begin := time.Now()
		go func() { answer <- w.Do("GET", "/v1/agent/service/web?hash="+hash, "") }()
		synctest.Wait()
		w.register(t, "", `{"Name":"other"}`)
		synctest.Wait()
		if len(answer) != 0 {
			t.Fatal("woken by another service")
		}
		w.Do("PUT", "/v1/agent/service/deregister/web", "")
		if rec := <-answer; rec.Code != 404 || rec.Body.String() != "unknown service ID: web" || time.Since(begin) != 0 {
			t.Errorf("%d %s after %v", rec.Code, rec.Body, time.Since(begin))
		}
	})
}

func TestWaitForAnotherHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.register(t, "", `{"Name":"web","Port":80}`)
		hash := w.Do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
		if hash == "" {
			t.Fatal("no hash")
		}
		begin := time.Now()
		rec := w.Do("GET", "/v1/agent/service/web?wait=10s&hash="+hash, "")
		if took := time.Since(begin); took != 10*time.Second || rec.Header().Get("X-Consul-ContentHash") != hash {
			t.Errorf("without a change: %s, hash %s, want %s after 10 s", took, rec.Header().Get("X-Consul-ContentHash"), hash)
		}
		answer := make(chan *httptest.ResponseRecorder)
		go func() { answer <- w.Do("GET", "/v1/agent/service/web?hash="+hash, "") }()
		synctest.Wait()
		w.register(t, "", `{"Name":"web","Port":81}`)
		if rec := <-answer; !strings.Contains(rec.Body.String(), `"Port":81`) {
			t.Errorf("after a change: %d %s", rec.Code, rec.Body)
		}
		if rec := w.Do("GET", "/v1/agent/service/web?wait=x&hash="+hash, ""); rec.Code != 400 {
			t.Errorf("a bad wait: %d", rec.Code)
		}
	})
}

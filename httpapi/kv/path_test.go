package kv

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// keyStore keeps keys, and knows no lists.
type keyStore map[string][]byte

// Do implements op.Caller.
func (s keyStore) Do(_ context.Context, call *op.Call) (*op.Reply, error) {
	req, err := call.Request()
	if err != nil {
		return nil, err
	}
	switch r := req.(type) {
	case *kv.GetRequest:
		if value, ok := s[r.Key]; ok {
			return op.NewReply(op.Meta{Index: 1}, &kv.Entry{Key: r.Key, Value: value}), nil
		}
		return op.NewReply(op.Meta{Index: 1}, nil), nil
	case *kv.ApplyRequest:
		if r.Verb == kv.Delete {
			delete(s, r.Entry.Key)
		} else {
			s[r.Entry.Key] = append([]byte(nil), r.Entry.Value...)
		}
		return op.NewReply(op.Meta{}, &kv.ApplyResult{OK: true}), nil
	}
	return op.NewReply(op.Meta{Index: 1}, nil), nil
}

// Whatever a key looks like: it is refused with a reason, or what was put
// there is what is read, under its own name.
func FuzzKVPath(f *testing.F) {
	for _, key := range []string{"a", "a/b", "/", "//", "../x", "a b", "%2F", "ä", "\x00", "a?b=c", "a#b", ";", "\xff", strings.Repeat("k", 600)} {
		f.Add(key, "raw")
	}
	f.Add("k", "recurse&keys&separator=/&index=1&wait=1ms&cas=0&flags=x&dc=dc9")
	w := serve(f, keyStore{})
	ask := func(method, key, query, body string) *httptest.ResponseRecorder {
		u := &url.URL{Path: "/v1/kv/" + key, RawQuery: query}
		req := httptest.NewRequest(method, "/", strings.NewReader(body))
		req.URL, req.RequestURI = u, u.RequestURI()
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, req)
		return rec
	}
	f.Fuzz(func(t *testing.T, key, query string) {
		if rec := ask("GET", key, query+"&wait=1ms", ""); rec.Code >= 500 && rec.Header().Get("X-Legate-Reason") == "" {
			t.Errorf("GET %q %q: %d %s without a reason", key, query, rec.Code, rec.Body)
		}
		put := ask("PUT", key, "", "value")
		if put.Code != http.StatusOK {
			if put.Code >= 500 || put.Body.Len() == 0 {
				t.Errorf("PUT %q: %d %q", key, put.Code, put.Body)
			}
			return
		}
		if got := ask("GET", key, "raw", ""); got.Code != http.StatusOK || got.Body.String() != "value" {
			t.Errorf("key %q reads back as %d %q", key, got.Code, got.Body)
		}
		if del := ask("DELETE", key, "", ""); del.Code != http.StatusOK {
			t.Errorf("DELETE %q: %d %s", key, del.Code, del.Body)
		}
	})
}

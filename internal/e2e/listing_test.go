//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// Bounds of listing many keys: what an agent may hold beside what it holds
// anyway, in bytes, while it hands on a listing. One request costs it a part and
// what QUIC buffers; the rest is garbage not yet collected.
const listingMemory = 64 << 20

// A listing passes through a client agent and between datacenters as a stream:
// neither holds it. With LEGATE_LONG=1 it has a million keys of 512 bytes.
func TestManyKeysAreListedThroughOtherAgents(t *testing.T) {
	keys := 60_000
	if os.Getenv("LEGATE_LONG") != "" {
		keys = 1_000_000
	} else {
		t.Parallel()
	}
	p := newPair(t)
	fillKeys(t, p.s2, keys)
	for _, way := range []struct {
		name string
		n    *node
		dc   string
		held []*node
	}{
		{"the leader", p.s2, "", nil},
		{"a client agent", p.c2, "", []*node{p.c2}},
		{"another datacenter", p.s1, "dc2", []*node{p.s1}},
		{"a client agent in another datacenter", p.c1, "dc2", []*node{p.c1, p.s1}},
	} {
		before := map[*node]uint64{}
		for _, n := range way.held {
			now, _, err := n.Memory()
			must(t, "memory", err)
			before[n] = now
		}
		path := "/v1/kv/many/?recurse"
		if way.dc != "" {
			path += "&dc=" + way.dc
		}
		got, bytes := countEntries(t, way.n, path)
		if got != keys {
			t.Errorf("through %s: %d keys, want %d", way.name, got, keys)
		}
		t.Logf("through %s: %d keys, %d MiB", way.name, got, bytes>>20)
		for _, n := range way.held {
			_, peak, err := n.Memory()
			must(t, "memory", err)
			t.Logf("through %s: %s held %d MiB before and %d MiB at most", way.name, n.name, before[n]>>20, peak>>20)
			if peak > idleMemory+listingMemory {
				t.Errorf("through %s: %s held %d MiB", way.name, n.name, peak>>20)
			}
		}
	}
	if now, peak, err := p.s2.Memory(); err == nil {
		t.Logf("the leader holds %d MiB, %d MiB at most", now>>20, peak>>20)
	}
}

// fillKeys writes keys of 512 bytes, 128 with each transaction.
func fillKeys(t testing.TB, n *node, keys int) {
	t.Helper()
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	value := strings.Repeat("dmFs", 512/3) + "dmE="
	for from := 0; from < keys; from += 128 {
		ops := make([]string, 0, 128)
		for i := from; i < min(from+128, keys); i++ {
			ops = append(ops, fmt.Sprintf(`{"KV":{"Verb":"set","Key":"many/%07d","Value":"%s"}}`, i, value))
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+n.ip+":8500/v1/txn", strings.NewReader("["+strings.Join(ops, ",")+"]"))
		must(t, "request", err)
		resp, err := client.Do(req)
		must(t, "write keys", err)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("write keys: %s, %v", resp.Status, err)
		}
		must(t, "close", resp.Body.Close())
	}
}

// countEntries reads a listing as it comes.
func countEntries(t testing.TB, n *node, path string) (entries, bytes int) {
	t.Helper()
	transport := n.host.Transport()
	transport.DisableCompression = true
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + n.ip + ":8500" + path)
	must(t, "list", err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Consul-Index") == "" {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("list: %s %.200s", resp.Status, text)
	}
	count := &counted{r: resp.Body}
	dec := json.NewDecoder(bufio.NewReaderSize(count, 1<<20))
	_, err = dec.Token()
	must(t, "begin of the list", err)
	last := ""
	for dec.More() {
		var e struct{ Key string }
		must(t, "entry", dec.Decode(&e))
		if e.Key <= last {
			t.Fatalf("%s after %s", e.Key, last)
		}
		last = e.Key
		entries++
	}
	_, err = dec.Token()
	must(t, "end of the list", err)
	return entries, count.n
}

type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// A listing whose source goes away must not look whole.
func TestBrokenListingLooksBroken(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	fillKeys(t, p.s2, 60_000)
	transport := p.c1.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + p.c1.ip + ":8500/v1/kv/many/?recurse&dc=dc2")
	must(t, "list", err)
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, 1<<20))
	must(t, "begin", err)
	p.s2.Kill()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("%d bytes more, and an end as if it were whole", n)
	}
}

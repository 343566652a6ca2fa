//go:build linux

package linear

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// stepShelf does one thing with the group's shelf.
func (cl *client) stepShelf(e *event) {
	fresh := e.Value
	e.Value = ""
	some := func() {
		first := cl.rand.IntN(width)
		for i := range 1 + cl.rand.IntN(width) {
			e.Shelf[(first+i)%width] = fresh
		}
	}
	switch p := cl.rand.IntN(100); {
	case p < 20:
		e.Kind = seenTxn
	case p < 40:
		e.Kind = list
	case p < 50:
		e.Kind = keysAlone
	case p < 70:
		e.Kind = guarded
		e.At = cl.rand.IntN(width)
		e.Expect = cl.row[e.At]
		some()
	case p < 95:
		e.Kind = together
		some()
	default:
		e.Kind = clear
	}
	cl.askShelf(e)
}

func (cl *client) askShelf(e *event) {
	name := func(i int) string { return fmt.Sprintf("%s/%d", e.Key, i) }
	var ops []txnOp
	switch e.Kind {
	case list, keysAlone:
		query := "?recurse"
		if e.Kind == keysAlone {
			query = "?keys"
		}
		if cl.n%2 == 0 {
			query += "&consistent"
		}
		if res, answer, ok := cl.send(e, http.MethodGet, "/v1/kv/"+e.Key+"/"+query, ""); ok {
			cl.listed(e, res, answer)
		}
		return
	case clear:
		if res, answer, ok := cl.send(e, http.MethodDelete, "/v1/kv/"+e.Key+"/?recurse", ""); ok {
			answered(e, res, answer)
		}
		return
	case seenTxn:
		for i := range width {
			ops = append(ops, txnOp{kvOp{Verb: "get-or-empty", Key: name(i)}})
		}
	case guarded:
		ops = append(ops, txnOp{kvOp{Verb: "check-index", Key: name(e.At), Index: cl.versions[e.At]}})
		if e.Expect == "" {
			ops[0].KV = kvOp{Verb: "check-not-exists", Key: name(e.At)}
		}
	}
	for i, v := range e.Shelf {
		if v != "" {
			ops = append(ops, txnOp{kvOp{Verb: "set", Key: name(i), Value: []byte(v)}})
		}
	}
	body, err := json.Marshal(ops)
	if err != nil {
		panic(err) // a fault of this test
	}
	res, answer, ok := cl.send(e, http.MethodPut, "/v1/txn", string(body))
	switch {
	case !ok:
	case res.StatusCode == http.StatusConflict && e.Kind == guarded:
		e.Outcome = no
	case res.StatusCode != http.StatusOK:
		answered(e, res, answer)
	case e.Kind == seenTxn:
		var got struct{ Results []struct{ KV shelfEntry } }
		err := json.Unmarshal(answer, &got)
		var entries []shelfEntry
		for _, r := range got.Results {
			entries = append(entries, r.KV)
		}
		cl.saw(e, entries, err)
	default:
		e.Outcome = done
	}
}

type shelfEntry struct {
	Key         string
	Value       []byte
	ModifyIndex uint64
}

// saw notes what a read shows.
func (cl *client) saw(e *event, entries []shelfEntry, err error) {
	if err != nil {
		e.Outcome, e.Why = unknown, err.Error()
		return
	}
	e.Outcome = done
	var versions [width]uint64
	for _, entry := range entries {
		i, err := strconv.Atoi(strings.TrimPrefix(entry.Key, e.Key+"/"))
		if err != nil || i >= width {
			e.Why = "there is a key " + entry.Key
			continue
		}
		e.Shelf[i], versions[i] = string(entry.Value), entry.ModifyIndex
	}
	if e.Kind != keysAlone {
		cl.row, cl.versions = e.Shelf, versions
	}
}

func (cl *client) listed(e *event, res *http.Response, answer []byte) {
	e.Result, _ = strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64)
	var entries []shelfEntry
	switch {
	case res.StatusCode == http.StatusNotFound:
		cl.saw(e, nil, nil)
	case res.StatusCode != http.StatusOK:
		answered(e, res, answer)
	case e.Kind == keysAlone:
		var keys []string
		err := json.Unmarshal(answer, &keys)
		for _, key := range keys {
			entries = append(entries, shelfEntry{Key: key, Value: []byte("x")})
		}
		cl.saw(e, entries, err)
	default:
		err := json.Unmarshal(answer, &entries)
		cl.saw(e, entries, err)
	}
}

package httpapi

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// partBytes is how much of a list is rendered before it is sent.
const partBytes = 64 << 10

func kvList(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	list, err := kv.List.InParts(x.ctx, x.s.cfg.Caller, h, &kv.ListRequest{Prefix: x.rest})
	if err != nil {
		return err
	}
	defer list.Close()
	x.meta(&list.Meta)
	all, whole := list.Whole()
	if whole && (all == nil || len(*all) == 0) {
		x.empty(http.StatusNotFound)
		return nil
	}
	text := rendered(flat(list), x.pretty(), func(b []byte, e kv.Entry) []byte { return appendEntry(b, &e) })
	if whole && !long(*all) {
		return x.jsonWhole(text)
	}
	return x.jsonParts(text)
}

// long reports whether a list takes more than one part.
func long(list kv.Entries) bool {
	size := 0
	for i := range list {
		if size += len(list[i].Key) + len(list[i].Value); size > partBytes {
			return true
		}
	}
	return false
}

func kvKeys(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	req := &kv.KeysRequest{Prefix: x.rest, Separator: x.get("separator")}
	if req.Separator == "" {
		req.Separator = x.get("seperator") // clients that spell it so exist
	}
	list, err := kv.ListKeys.InParts(x.ctx, x.s.cfg.Caller, h, req)
	if err != nil {
		return err
	}
	defer list.Close()
	x.meta(&list.Meta)
	all, whole := list.Whole()
	if whole && (all == nil || len(*all) == 0) {
		if x.rest != "" {
			x.empty(http.StatusNotFound)
			return nil
		}
		return x.json([]string{})
	}
	text := rendered(flat(list), x.pretty(), appendString)
	if whole && !longKeys(*all) {
		return x.jsonWhole(text)
	}
	return x.jsonParts(text)
}

func longKeys(list kv.Keys) bool {
	size := 0
	for _, key := range list {
		size += len(key)
	}
	return size > partBytes
}

// flat yields the items of a list that may come in parts.
func flat[L ~[]T, T any](list *op.Listing[L]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for part, err := range list.All() {
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range *part {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// rendered yields a list as JSON text piece by piece: all of a large one would
// take several times the memory of what is in it. A piece is valid until the
// next.
func rendered[T any](items iter.Seq2[T, error], pretty bool, add func([]byte, T) []byte) iter.Seq2[[]byte, error] {
	before, between, behind := "[", ",", "]"
	if pretty {
		before, between, behind = "[\n    ", ",\n    ", "\n]\n"
	}
	return func(yield func([]byte, error) bool) {
		b := []byte(before)
		first := true
		for item, err := range items {
			if err != nil {
				yield(nil, err)
				return
			}
			if !first {
				b = append(b, between...)
			}
			first = false
			if from := len(b); pretty {
				b = indented(b[:from], add(nil, item))
			} else {
				b = add(b, item)
			}
			if len(b) >= partBytes {
				if !yield(b, nil) {
					return
				}
				b = b[:0]
			}
		}
		yield(append(b, behind...), nil)
	}
}

// indented appends an item of a list as json.Indent would in its place.
func indented(b, item []byte) []byte {
	var buf bytes.Buffer
	if json.Indent(&buf, item, "    ", "    ") != nil { // cannot be: it was rendered here
		return append(b, item...)
	}
	return append(b, buf.Bytes()...)
}

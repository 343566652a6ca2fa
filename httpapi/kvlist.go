package httpapi

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http"

	"github.com/legate-project/legate/httpapi/kvjson"
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
	return x.jsonParts(rendered(list, x.pretty(), func(b []byte, e kv.Entry) []byte { return kvjson.AppendEntry(b, &e) }))
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
	return x.jsonParts(rendered(list, x.pretty(), kvjson.AppendString))
}

// rendered yields a list as JSON text piece by piece: all of a large one would
// take several times the memory of what is in it. A piece is valid until the
// next, and no shorter than partBytes unless it is the last. An empty list has none.
func rendered[L ~[]T, T any](list *op.Listing[L], pretty bool, add func([]byte, T) []byte) iter.Seq2[[]byte, error] {
	next, between, behind := "[", ",", "]"
	if pretty {
		next, between, behind = "[\n    ", ",\n    ", "\n]\n"
	}
	return func(yield func([]byte, error) bool) {
		var b []byte
		for part, err := range list.All() {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range *part {
				if len(b) >= partBytes {
					if !yield(b, nil) {
						return
					}
					b = b[:0]
				}
				b, next = append(b, next...), between
				if pretty {
					b = indented(b, add(nil, item))
				} else {
					b = add(b, item)
				}
			}
		}
		if b != nil {
			yield(append(b, behind...), nil)
		}
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

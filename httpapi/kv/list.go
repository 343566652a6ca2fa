package kv

import (
	"bytes"
	"encoding/json"
	"iter"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

func (a *API) list(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	list, err := kv.List.InParts(x.Ctx, a.Caller, h, &kv.ListRequest{Prefix: x.Rest})
	if err != nil {
		return err
	}
	defer list.Close()
	x.Meta(&list.Meta)
	all, whole := list.Whole()
	if whole && (all == nil || len(*all) == 0) {
		return x.Missing()
	}
	return x.JSONParts(rendered(list, x.Pretty(), func(b []byte, e kv.Entry) []byte { return AppendEntry(b, &e) }))
}

func (a *API) keys(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	req := &kv.KeysRequest{Prefix: x.Rest, Separator: x.Get("separator")}
	if req.Separator == "" {
		req.Separator = x.Get("seperator") // clients that spell it so exist
	}
	list, err := kv.ListKeys.InParts(x.Ctx, a.Caller, h, req)
	if err != nil {
		return err
	}
	defer list.Close()
	x.Meta(&list.Meta)
	all, whole := list.Whole()
	if whole && (all == nil || len(*all) == 0) {
		if x.Rest != "" {
			return x.Missing()
		}
		return x.JSON([]string{})
	}
	return x.JSONParts(rendered(list, x.Pretty(), AppendString))
}

// rendered yields a list as JSON text piece by piece: all of a large one would
// take several times the memory of what is in it. A piece is valid until the
// next, and no shorter than rest.PartBytes unless it is the last. An empty list has none.
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
				if len(b) >= rest.PartBytes {
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

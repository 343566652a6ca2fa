package kv

import (
	"bytes"
	"math"

	"github.com/legate-project/legate/storage"
)

// What an item takes in memory beside its bytes, roughly: it counts towards the
// size of a part.
const (
	entryBytes = 96
	keyBytes   = 16
)

func listEntries(r storage.Reader, req *ListRequest) (*Entries, error) {
	list, _, err := partOfEntries(r, req, nil, math.MaxInt)
	return list, err
}

// partOfEntries returns entries of about max bytes, at least one if there is any.
func partOfEntries(r storage.Reader, req *ListRequest, after []byte, max int) (*Entries, []byte, error) {
	list, size := Entries{}, 0
	for e, err := range entries.ScanAfter(r, []byte(req.Prefix), after) {
		if err != nil {
			return nil, nil, err
		}
		size += len(e.Key) + len(e.Value) + entryBytes
		if n := len(list); size > max && n > 0 {
			return &list, []byte(list[n-1].Key), nil
		}
		list = append(list, *e)
	}
	return &list, nil, nil
}

func listKeys(r storage.Reader, req *KeysRequest) (*Keys, error) {
	list, _, err := partOfKeys(r, req, nil, math.MaxInt)
	return list, err
}

// partOfKeys is partOfEntries for keys. What is folded into the last key of a
// part does not come again with the next.
func partOfKeys(r storage.Reader, req *KeysRequest, after []byte, max int) (*Keys, []byte, error) {
	list, size, last := Keys{}, 0, ""
	if after != nil {
		last = string(fold(after, len(req.Prefix), req.Separator))
	}
	for k, err := range entries.KeysAfter(r, []byte(req.Prefix), after) {
		if err != nil {
			return nil, nil, err
		}
		key := fold(k, len(req.Prefix), req.Separator)
		if (len(list) > 0 || after != nil) && string(key) == last {
			continue
		}
		size += len(key) + keyBytes
		if size > max && len(list) > 0 {
			return &list, []byte(last), nil
		}
		last = string(key)
		list = append(list, last)
	}
	return &list, nil, nil
}

// fold cuts key behind the first separator that follows its first n bytes.
func fold(key []byte, n int, separator string) []byte {
	if separator == "" {
		return key
	}
	if i := bytes.Index(key[n:], []byte(separator)); i >= 0 {
		return key[:n+i+len(separator)]
	}
	return key
}

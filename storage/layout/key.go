package layout

import (
	"fmt"
	"slices"

	"github.com/legate-project/legate/storage/engine/damage"
)

// The escapes of Key. A part ends with 00 01; a zero byte inside it becomes
// 00 FF. The end sorts below everything that may follow, so shorter parts come
// first and the order of the keys is the order of the parts.
const (
	escape     = 0x00
	escapedEnd = 0x01
	escapedNul = 0xff
)

// Key joins parts into one key whose order is that of the parts compared one
// after the other. Any bytes are allowed; Key of fewer parts is a prefix of
// exactly the keys that begin with those parts.
func Key(parts ...string) []byte {
	size := 0
	for _, p := range parts {
		size += len(p) + 2
	}
	key := make([]byte, 0, size)
	for _, p := range parts {
		key = append(appendEscaped(key, p), escape, escapedEnd)
	}
	return key
}

func appendEscaped(key []byte, part string) []byte {
	for i := range len(part) {
		key = append(key, part[i])
		if part[i] == escape {
			key = append(key, escapedNul)
		}
	}
	return key
}

// SplitKey returns the parts of a Key, or damage.ErrCorrupt.
func SplitKey(key []byte) ([]string, error) {
	var parts []string
	var part []byte
	for i := 0; i < len(key); i++ {
		if key[i] != escape {
			part = append(part, key[i])
			continue
		}
		i++
		switch {
		case i < len(key) && key[i] == escapedNul:
			part = append(part, escape)
		case i < len(key) && key[i] == escapedEnd:
			parts = append(parts, string(part))
			part = part[:0]
		default:
			return nil, fmt.Errorf("split the key %x: %w", key, damage.ErrCorrupt)
		}
	}
	if len(part) > 0 {
		return nil, fmt.Errorf("split the key %x: %w", key, damage.ErrCorrupt)
	}
	return parts, nil
}

// PrefixEnd returns the smallest key above all that begin with prefix; nil
// when there is none.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := slices.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}

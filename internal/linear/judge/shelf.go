package judge

import (
	"strings"

	"github.com/anishathalye/porcupine"
)

// A shelf is a prefix with a few keys that are read and written together: it
// is one object to the judge.
const (
	Together  Kind = "txn set"   // some keys in one transaction, or one without
	Guarded   Kind = "txn check" // the same, if one key has the version that was seen
	Clear     Kind = "tree gone"
	SeenTxn   Kind = "txn get"
	List      Kind = "list"
	KeysAlone Kind = "keys"

	ShelfPrefix = "shelf"
	Width       = 3
)

// Row is what is in a shelf, or what an operation does to it; empty is an
// absent key, or one that is left alone.
type Row [Width]string

func (s Row) put(on Row) Row {
	for i, v := range s {
		if v != "" {
			on[i] = v
		}
	}
	return on
}

// shelf is the model of a prefix.
func shelf() porcupine.Model {
	m := register()
	m.Init = func() any { return Row{} }
	m.Step = func(state, input, output any) (bool, any) {
		s, in, out := state.(Row), input.(*Event), output.(Outcome)
		switch in.Kind {
		case List, SeenTxn:
			return s == in.Shelf, s
		case KeysAlone:
			for i := range s {
				if (s[i] == "") != (in.Shelf[i] == "") {
					return false, s
				}
			}
			return true, s
		case Clear:
			return true, Row{}
		case Restored:
			return true, in.Shelf
		case Together:
			return true, in.Shelf.put(s)
		}
		equal := s[in.At] == in.Expect
		switch {
		case out == Done:
			return equal, in.Shelf.put(s)
		case out == No:
			return !equal, s
		case equal: // unknown
			return true, in.Shelf.put(s)
		}
		return true, s
	}
	return m
}

// ModelOf is the model of a key, or of the prefix of a shelf.
func ModelOf(key string) porcupine.Model {
	if strings.HasPrefix(key, ShelfPrefix) {
		return shelf()
	}
	return register()
}

package archive

import (
	"bytes"
	"errors"
	"testing"
)

// An archive comes from whoever restores a snapshot, or names a file: it is whole, or the
// error says that it is not.
func FuzzRead(f *testing.F) {
	whole, _ := written(f, sample())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		rows := 0
		_, err := Read(bytes.NewReader(b), func(r Row) error {
			rows++
			if len(r.Key) < keyHeader || len(r.Value) < valueHeader {
				t.Errorf("a row of %d and %d bytes", len(r.Key), len(r.Value))
			}
			_, _, _ = r.Record(), r.Table(), r.Body()
			return nil
		})
		if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrConsul) {
			t.Errorf("neither whole nor said to be invalid: %v", err)
		}
	})
}

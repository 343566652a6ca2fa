package mesh

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

//go:generate go tool msgp -tests=false -io=false -o freeform_gen.go -file freeform.go

// FreeForm is a JSON object whose keys only its user knows. It is kept as text
// in one form, so that what is alike has the same bytes: keys sorted, no space,
// numbers as they were written, of any size. nil is none.
type FreeForm []byte

// NewFreeForm brings an object, or null, into its form.
func NewFreeForm(text []byte) (FreeForm, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("want an object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one object and nothing after it")
	}
	if tree == nil {
		return nil, nil
	}
	return json.Marshal(tree)
}

// MarshalJSON implements json.Marshaler.
func (f FreeForm) MarshalJSON() ([]byte, error) {
	if len(f) == 0 {
		return []byte("null"), nil
	}
	return f, nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *FreeForm) UnmarshalJSON(text []byte) (err error) {
	*f, err = NewFreeForm(text)
	return err
}

// IsZero reports whether there is none.
func (f FreeForm) IsZero() bool { return len(f) == 0 }

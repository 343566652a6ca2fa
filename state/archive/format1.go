package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/legate-project/legate/state/archive/pack"
)

// recordsName is where format 1 has the rows; its meta.json is the description.
const recordsName = "records"

// formatOne reads an archive of format 1.
func (r *reader) formatOne(c *pack.Contents) error {
	if err := r.describe(c.Meta, 1, 1); err != nil {
		return err
	}
	if uint64(c.Size) != r.meta.Bytes {
		return fmt.Errorf("%w: it has %d bytes of records, its description says %d", ErrInvalid, c.Size, r.meta.Bytes)
	}
	in := c.State
	for {
		switch err := r.frameOne(in); {
		case errors.Is(err, errEnd):
			return r.end()
		case err != nil:
			return err
		}
		if err := r.row(); err != nil {
			return err
		}
	}
}

// frameOne reads a row: the lengths of key and value (unsigned LEB128), the key,
// the value.
func (r *reader) frameOne(in *bufio.Reader) error {
	keySize, err := binary.ReadUvarint(in)
	if errors.Is(err, io.EOF) {
		return errEnd
	}
	if err != nil {
		return err
	}
	valueSize, err := binary.ReadUvarint(in)
	if err != nil {
		return err
	}
	if keySize > maxKey || valueSize > maxValue {
		return fmt.Errorf("%w: a record with a key of %d and a value of %d bytes", ErrInvalid, keySize, valueSize)
	}
	if r.key, err = fill(in, r.key, int(keySize)); err != nil {
		return err
	}
	r.value, err = fill(in, r.value, int(valueSize))
	return err
}

package storage

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/legate-project/legate/storage/layout"
)

// AnyTable is a Table, whatever its records are.
type AnyTable interface {
	ID() byte
	Name() string
	// pointers decodes a live row of the table and returns the keys of the index
	// rows that belong to it, those of derived indexes apart.
	pointers(primary, body []byte) ([]string, error)
	// derived lists the numbers of the derived indexes, and derive is pointers for
	// them.
	derived() []byte
	derive(primary, body []byte) ([]string, error)
	// become is a row as readers see it after keys of an index were retired.
	become(rs *retired, row []byte) ([]byte, error)
}

// Check finds out whether rows that came from elsewhere are a state that the
// tables can read: all tables are known, all records decode, and there are the
// index rows that belong to them and no others. It needs no memory for the rows.
type Check struct {
	tables map[byte]AnyTable
	seed   maphash.Seed
	// Sums over the keys of index rows, in any order: those that came and those
	// that the records call for.
	came, due sum
	newest    uint64
}

type sum struct{ n, hash uint64 }

func (s *sum) add(h uint64) {
	s.n++
	s.hash += h
}

// NewCheck returns a Check for a state of these tables.
func NewCheck(tables []AnyTable) *Check {
	c := &Check{tables: map[byte]AnyTable{}, seed: maphash.MakeSeed()}
	for _, t := range tables {
		c.tables[t.ID()] = t
	}
	return c
}

// Row takes the next row. The error says what is wrong with it.
func (c *Check) Row(r Row) error {
	if len(r.Key) < 2 || r.Key[0] != layout.SpaceRow && r.Key[0] != layout.SpaceIndex {
		return fmt.Errorf("a row under %x: %w", r.Key, ErrCorrupt)
	}
	table := c.tables[r.Key[1]]
	if table == nil {
		return fmt.Errorf("a row of table %d, which this version does not know", r.Key[1])
	}
	index, live, body, err := layout.SplitRow(r.Value)
	c.newest = max(c.newest, index)
	if err == nil && !live {
		err = fmt.Errorf("it is a tombstone: %w", ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("row %x of table %s: %w", r.Key, table.Name(), err)
	}
	if r.Key[0] == layout.SpaceIndex {
		c.came.add(maphash.Bytes(c.seed, r.Key))
		return nil
	}
	keys, err := table.pointers(r.Key[2:], body)
	if err != nil {
		return fmt.Errorf("record %x of table %s: %w", r.Key[2:], table.Name(), err)
	}
	for _, k := range keys {
		c.due.add(maphash.String(c.seed, k))
	}
	return nil
}

// End says whether the rows belong together, after the last of them.
func (c *Check) End() error {
	if c.came != c.due {
		return fmt.Errorf("%d index rows came, and they are not the %d that the records call for: %w", c.came.n, c.due.n, ErrCorrupt)
	}
	return nil
}

// Newest is the highest index of a row so far: that of the state must not be below.
func (c *Check) Newest() uint64 { return c.newest }

func (t *Table[T, P]) pointers(primary, body []byte) ([]string, error) {
	return t.indexRows(layout.SpaceIndex, primary, body)
}

func (t *Table[T, P]) derive(primary, body []byte) ([]string, error) {
	return t.indexRows(layout.SpaceDerived, primary, body)
}

func (t *Table[T, P]) derived() (ids []byte) {
	if t.heads {
		ids = append(ids, headsID)
	}
	for _, ix := range t.indexes {
		if ix.space == layout.SpaceDerived {
			ids = append(ids, ix.id)
		}
	}
	return ids
}

// indexRows returns the keys of the index rows of a record that are in a space,
// each once.
func (t *Table[T, P]) indexRows(space byte, primary, body []byte) ([]string, error) {
	v := new(T)
	rest, err := P(v).UnmarshalMsg(body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case len(rest) > 0:
		return nil, fmt.Errorf("%d bytes follow it: %w", len(rest), ErrCorrupt)
	case len(primary) > layout.MaxPrimaryKey:
		return nil, ErrKeyTooLong
	}
	var keys []string
	for _, ix := range t.indexes {
		if ix.space != space {
			continue
		}
		for _, k := range ix.keys(v) {
			keys = append(keys, string(ix.rowKey(k, primary)))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

package storage

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/storage/layout"
)

// exportedRows is the rows of a state with a few records, one of them deleted again.
func exportedRows(t *testing.T) []Row {
	t.Helper()
	s := openState(t, vfs.NewMem())
	for _, key := range []string{"apple", "banana", "cherry"} {
		put(t, s, things, key, "red")
		put(t, s, plain, key, "")
	}
	put(t, s, things, "banana", "yellow")
	remove(t, s, things, "cherry")
	v := s.View()
	defer v.Close()
	var rows []Row
	for r, err := range v.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, Row{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
	}
	return rows
}

func checked(rows []Row, tables ...AnyTable) error {
	c := NewCheck(tables)
	for _, r := range rows {
		if err := c.Row(r); err != nil {
			return err
		}
	}
	return c.End()
}

func TestWhatIsNoStateIsFound(t *testing.T) {
	rows := exportedRows(t)
	if err := checked(rows, things, plain); err != nil {
		t.Fatalf("a state: %v", err)
	}
	index := slices.IndexFunc(rows, func(r Row) bool { return r.Key[0] == layout.SpaceIndex })
	record := slices.IndexFunc(rows, func(r Row) bool { return r.Key[0] == layout.SpaceRow && r.Key[1] == 1 })
	for name, change := range map[string]func(rows []Row) []Row{
		"no record":          func(r []Row) []Row { r[record].Value = append(layout.NewRow(1, layout.FlagLive, 1), 0xc1); return r },
		"more than a record": func(r []Row) []Row { r[record].Value = append(r[record].Value, 0); return r },
		"no header":          func(r []Row) []Row { r[record].Value = []byte{1}; return r },
		"a tombstone":        func(r []Row) []Row { r[record].Value = layout.NewRow(1, layout.FlagTombstone, 0); return r },
		"no space": func(r []Row) []Row {
			return append(r, Row{Key: []byte("mx"), Value: layout.NewRow(1, layout.FlagLive, 0)})
		},
		"no table": func(r []Row) []Row {
			return append(r, Row{Key: []byte{layout.SpaceRow, 77, 'a'}, Value: layout.NewRow(1, layout.FlagLive, 0)})
		},
		"an empty key":       func(r []Row) []Row { return append(r, Row{}) },
		"an index row lacks": func(r []Row) []Row { return slices.Delete(r, index, index+1) },
		"one index row more": func(r []Row) []Row {
			return append(r, Row{Key: byColor.rowKey([]byte("x"), []byte("y")), Value: layout.NewRow(1, layout.FlagLive, 0)})
		},
		"another index row":           func(r []Row) []Row { r[index].Key[3] ^= 1; return r },
		"a record of a table without": func(r []Row) []Row { return slices.Delete(r, record, record+1) },
	} {
		copied := make([]Row, 0, len(rows)+1)
		for _, r := range rows {
			copied = append(copied, Row{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
		}
		if err := checked(change(copied), things, plain); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := checked(rows, things); err == nil {
		t.Error("rows of a table that is not known are taken")
	}
}

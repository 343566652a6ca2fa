package consulsnap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/legate-project/legate/state/archive/pack"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/storage"
)

func otherTables() []storage.AnyTable {
	return slices.Concat(coordinate.Tables(), query.Tables(), autopilot.Tables())
}

// unpacked is the state of a snapshot.
func unpacked(t testing.TB, b []byte) (state []byte) {
	t.Helper()
	err := pack.Read(bytes.NewReader(b), func(c *pack.Contents) (err error) {
		state, err = io.ReadAll(c.State)
		return err
	}, pack.StateName)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// Whatever the state is, it is refused as that or becomes rows that belong
// together.
func FuzzState(f *testing.F) {
	for _, name := range []string{"plain", "acl"} {
		state := unpacked(f, snapshot(f, name))
		f.Add(state)
		f.Add(state[:len(state)*2/3])
		altered := bytes.Clone(state)
		for i := 100; i < len(altered); i += 1000 {
			altered[i] ^= 0x81
		}
		f.Add(altered)
	}
	f.Add([]byte("\x81\xa9LastIndex\x07\x02\xdf\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, state []byte) {
		rows := 0
		c := &converter{report: &Report{}, tally: newTally(), rows: func(list []storage.Row) error {
			for _, r := range list {
				rows += len(r.Key)
			}
			return nil
		}}
		err := stream(bufio.NewReader(bytes.NewReader(state)), &c.report.LastIndex, c.record)
		if err != nil && !errors.Is(err, pack.ErrInvalid) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("an error of no kind: %v", err)
		}
		c.tally.report(c.report)
		if taken := len(c.report.Taken); (taken > 0) != (rows > 0) {
			t.Errorf("%d kinds were taken, %d bytes of keys", taken, rows)
		}
	})
}

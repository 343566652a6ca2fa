package damage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	framing "github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// frames writes records as Pebble does and returns the file and where each
// record begins.
func frames(t *testing.T, kind string, sizes []int) ([]byte, []int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(sizes)), 1))
	var file bytes.Buffer
	var begins []int
	add := func(write func([]byte) (int64, error), size func() int64) {
		for _, n := range sizes {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(1 + rng.IntN(255))
			}
			begins = append(begins, int(size()))
			if _, err := write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	offsets := framing.LogWriterConfig{WriteWALSyncOffsets: func() bool { return true }}
	var err error
	switch kind {
	case "manifest":
		w := framing.NewWriter(&file)
		add(w.WriteRecord, w.Size)
		err = w.Close()
	case "wal":
		w := framing.NewLogWriter(&file, walNumber, offsets)
		add(w.WriteRecord, w.Size)
		err = w.Close()
	case "stale":
		w := framing.NewLogWriter(&file, walNumber-1, offsets)
		add(w.WriteRecord, w.Size)
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), begins
}

const walNumber = 300

func judge(b []byte, kind string) error {
	mem := vfs.NewMem()
	f, err := mem.Create("f", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(bytes.Clone(b)); err != nil { // a writer may spoil what it is given
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	r, err := openFramed(mem, "f")
	if err != nil {
		return err
	}
	defer r.file.Close()
	if kind == "manifest" {
		return r.judgeManifest()
	}
	r.wal, r.number = true, walNumber
	return r.judgeWAL()
}

// Records of many sizes, among them such that end near the end of a block.
func frameSizes(rng *rand.Rand) []int {
	var sizes []int
	for range 2 + rng.IntN(12) {
		n := []int{rng.IntN(50), rng.IntN(3000), rng.IntN(100_000), frameBlock - rng.IntN(40)}[rng.IntN(4)]
		sizes = append(sizes, n)
	}
	return append(sizes, 100+rng.IntN(90_000))
}

// Nothing that a power loss can leave of the last record is refused: an early
// end, sectors that are zero or, in a write-ahead log, of the file's earlier
// use. A flipped byte before the last record always is.
func TestTornWriteIsNotDamage(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"manifest", "wal"} {
		t.Run(kind, func(t *testing.T) {
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 7))
				b, begins := frames(t, kind, frameSizes(rng))
				last := begins[len(begins)-1]
				if err := judge(b, kind); err != nil {
					t.Fatalf("seed %d: whole: %v", seed, err)
				}
				stale, _ := frames(t, "stale", frameSizes(rng))
				for range 10 {
					torn := tear(rng, b, last)
					if kind == "wal" { // the trailer is only written after the last sync
						torn = tear(rng, b[:len(b)-recycledHeader], last)
						if len(stale) > len(torn) && rng.IntN(2) == 0 {
							torn = append(torn, stale[len(torn):]...)
						}
					}
					if err := judge(torn, kind); err != nil {
						t.Fatalf("seed %d: torn in the last record, %d to %d: %v", seed, last, len(b), err)
					}
					at := rng.IntN(last)
					if padded(b, at) {
						continue
					}
					hurt := bytes.Clone(b)
					hurt[at] ^= byte(1 + rng.IntN(255))
					if err := judge(hurt, kind); !errors.Is(err, ErrCorrupt) {
						t.Fatalf("seed %d: byte %d of %d, the last record begins at %d: %v", seed, at, len(b), last, err)
					}
				}
			}
		})
	}
}

// padded reports whether a byte may be one of those that fill up a block.
func padded(b []byte, at int) bool {
	return b[at] == 0 && at%frameBlock > frameBlock-offsetHeader
}

// tear leaves of the record that begins at last what a power loss may.
func tear(rng *rand.Rand, b []byte, last int) []byte {
	end := last + rng.IntN(len(b)-last)
	if rng.IntN(2) == 0 {
		return bytes.Clone(b[:end])
	}
	torn := bytes.Clone(b)
	sector := end / diskSector * diskSector
	clear(torn[max(sector, last):min(sector+diskSector, len(torn))])
	return torn
}

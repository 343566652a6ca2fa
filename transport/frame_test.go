package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func TestFramesComeBackWhole(t *testing.T) {
	var buf bytes.Buffer
	big := bytes.Repeat([]byte("0123456789abcdef"), 3*frameChunk/16)
	frames := [][][]byte{{}, {[]byte("a")}, {nil, []byte("a"), []byte("bc")}, {big}, {[]byte("h"), big, []byte("t")}, {big[:frameChunk-frameHeader]}}
	for _, parts := range frames {
		if err := WriteFrame(&buf, parts...); err != nil {
			t.Fatal(err)
		}
	}
	r := iotest.HalfReader(&buf)
	for i, parts := range frames {
		got, err := ReadFrame(r, len(big)+2)
		if err != nil || !bytes.Equal(got, bytes.Join(parts, nil)) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := ReadFrame(r, 1); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func TestFrameThatPromisesMoreThanItBrings(t *testing.T) {
	promise := binary.BigEndian.AppendUint32(nil, MaxResponse)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := ReadFrame(bytes.NewReader(append(promise, 'x')), MaxResponse); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 100*2*frameChunk {
		t.Fatalf("100 empty promises of 64 MiB allocated %d bytes", got)
	}
	if _, err := ReadFrame(bytes.NewReader(promise), MaxResponse-1); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	// Half a length is no clean end.
	if _, err := ReadFrame(bytes.NewReader(promise[:2]), 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 1, 0, 'x'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1 << 20
		got, err := ReadFrame(bytes.NewReader(raw), limit)
		if err != nil {
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes", len(got))
		}
		var again bytes.Buffer
		if err := WriteFrame(&again, got); err != nil || !bytes.HasPrefix(raw, again.Bytes()) {
			t.Fatalf("written again it differs: %v", err)
		}
	})
}

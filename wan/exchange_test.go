package wan

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
)

// pieces is a connection that is read from r.
type pieces struct {
	net.Conn
	r io.Reader
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b) }

func TestExchangesMustBeWhatTheyMayBe(t *testing.T) {
	label := []byte{labelMessage, 5, 'w', 'a', 'n', '/', 'x'}
	exchange := func(nodes, state int) []byte {
		return append(message(t, pushPullMessage, exchangeHead{nodes, state}), bytes.Repeat([]byte{1}, 500)...)
	}
	for name, c := range map[string]struct {
		stream  []byte
		refused bool
	}{
		"an exchange":          {append(label, exchange(600, 60_000)...), false},
		"an answer":            {exchange(600, 60_000), false},
		"a ping":               {append(label, message(t, 0, claim{Node: "a1"})...), false},
		"nothing":              {nil, false},
		"a label alone":        {label, false},
		"a million members":    {append(label, exchange(1<<20, 0)...), true},
		"a negative number":    {exchange(-1, 0), true},
		"20 MiB of state":      {exchange(3, 20<<20), true},
		"compressed":           {append(label, message(t, compressMessage, claim{})...), true},
		"a header without end": {append([]byte{pushPullMessage, 0xdf, 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0xa1, 'x'}, 1000)...), true},
		"more than is allowed": {append(label, append(exchange(3, 0), make([]byte, maxExchange)...)...), true},
	} {
		for way, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "error with data": iotest.DataErrReader,
		} {
			if len(c.stream) > maxExchange && way == "byte by byte" {
				continue
			}
			told := 0
			got, err := io.ReadAll(newBounded(pieces{r: wrap(bytes.NewReader(c.stream))}, func() { told++ }))
			if errors.Is(err, ErrExchange) != c.refused || c.refused != (told > 0) {
				t.Errorf("%s, %s: %v, counted %d times", name, way, err, told)
			}
			if !c.refused && (err != nil || !bytes.Equal(got, c.stream)) {
				t.Errorf("%s, %s: %d of %d bytes came, %v", name, way, len(got), len(c.stream), err)
			}
		}
	}
}

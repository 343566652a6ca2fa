package rest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/internal/accept"
	"github.com/legate-project/legate/op"
)

// Values of headers, shared by all answers and never changed.
var (
	plainText       = []string{"text/plain; charset=utf-8"}
	applicationJSON = []string{"application/json"}
	noSniff         = []string{"nosniff"}
	sandbox         = []string{"sandbox"}
	gzipped         = []string{"gzip"}
	acceptEncoding  = []string{"Accept-Encoding"}
	yes             = []string{"true"}
	no              = []string{"false"}
	zero            = []string{"0"}
	blockingQuery   = []string{"blocking-query"}
	byLeader        = []string{"leader"}
	byQuorum        = []string{"consistent"}
	byAny           = []string{"stale"}
	miss            = []string{"MISS"}
	hit             = []string{"HIT"}
)

// Meta sets the headers of a read from what came back with its result. Names
// are in canonical form: the map is written without conversion.
func (x *Exchange) Meta(m *op.Meta) {
	h := x.W.Header()
	x.index = max(m.Index, 1)
	values := make([]string, 0, 4) // one allocation for the slices of all headers
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	// A client that sends 0 back would not wait.
	set("X-Consul-Index", strconv.FormatUint(x.index, 10))
	h["X-Consul-Lastcontact"] = zero
	if m.LastContact > 0 {
		set("X-Consul-Lastcontact", strconv.FormatInt(m.LastContact.Milliseconds(), 10))
	}
	h["X-Consul-Knownleader"] = no
	if m.KnownLeader {
		h["X-Consul-Knownleader"] = yes
	}
	switch m.Consistency {
	case op.Consistent:
		h["X-Consul-Effective-Consistency"] = byQuorum
	case op.Stale, op.Cached:
		h["X-Consul-Effective-Consistency"] = byAny
	default:
		h["X-Consul-Effective-Consistency"] = byLeader
	}
	h["X-Consul-Query-Backend"] = blockingQuery
	if m.Filtered {
		h["X-Consul-Results-Filtered-By-Acls"] = yes
	}
	if m.Age > 0 {
		set("Age", seconds(m.Age))
	}
	if len(m.Outcomes) > 0 {
		h[headerDatacenters] = []string{outcomes(m.Outcomes)}
	}
	x.Cached(m.Hit)
	x.Datacenter(m)
}

// outcomes says what became of asking each of several datacenters, in the order in
// which they count.
func outcomes(list []op.Outcome) string {
	var b strings.Builder
	for i, o := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(o.Datacenter + ";" + o.State.String())
		if o.State == op.Aged {
			b.WriteString(";age=" + seconds(o.Age))
		}
	}
	return b.String()
}

// seconds is an age in whole seconds, never less than it is.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// Cached says of an answer that was asked for with ?cached whether it was there
// already. Its age is 0 while its owner pushes what is newer.
func (x *Exchange) Cached(there bool) {
	if len(x.params) == 0 || !x.Has("cached") {
		return
	}
	h := x.W.Header()
	h["X-Cache"] = miss
	if there {
		h["X-Cache"] = hit
	}
	if h["Age"] == nil {
		h["Age"] = zero
	}
}

// Datacenter sets which datacenter answered, and through which others it was reached, if it was
// not reached directly.
func (x *Exchange) Datacenter(m *op.Meta) {
	switch m.Datacenter {
	case "":
	case x.api.cfg.Datacenter:
		x.W.Header()[headerDatacenter] = x.api.here
	default:
		x.W.Header()[headerDatacenter] = []string{m.Datacenter}
	}
	if len(m.Through) > 0 {
		x.W.Header()[headerPath] = []string{strings.Join(m.Through, ", ")}
	}
}

// JSON answers 200 with v.
func (x *Exchange) JSON(v any) error { return x.JSONStatus(http.StatusOK, v) }

// JSONStatus answers with v in the shape of encoding/json, indented if the
// client asked for that.
func (x *Exchange) JSONStatus(status int, v any) error {
	buf := x.Buffer()
	defer x.Release(buf)
	if err := json.NewEncoder(buf).Encode(v); err != nil {
		return err
	}
	buf.Truncate(buf.Len() - 1) // the encoder ends with a newline
	return x.JSONBytes(status, buf.Bytes())
}

// JSONBytes answers with a JSON text.
func (x *Exchange) JSONBytes(status int, b []byte) error {
	if x.selects && x.same(b) {
		return errSame
	}
	if x.Pretty() {
		buf := x.Buffer()
		defer x.Release(buf)
		if err := json.Indent(buf, b, "", "    "); err != nil {
			return err
		}
		buf.WriteByte('\n')
		b = buf.Bytes()
	}
	x.W.Header()["Content-Type"] = applicationJSON
	x.Reply(status, b)
	return nil
}

// Pretty reports whether the client asked for indented JSON.
func (x *Exchange) Pretty() bool { return len(x.params) > 0 && x.Has("pretty") }

// PartBytes is how much of a list is rendered before it is sent.
const PartBytes = 64 << 10

// stall is how long a client may take nothing of a long answer.
const stall = 30 * time.Second

// JSONParts answers 200 with a JSON text that comes in parts, sent as they come: none
// but the last is shorter than PartBytes. A part is not kept. When one fails the
// answer breaks off: the client must not take for whole what it has.
func (x *Exchange) JSONParts(parts iter.Seq2[[]byte, error]) error {
	var out io.Writer
	var z *gzip.Writer
	rc := http.NewResponseController(x.W)
	for part, err := range parts {
		if err != nil && out == nil {
			return err
		}
		if err != nil {
			x.BreakOff(rc, "a long answer broke off", err)
			return nil
		}
		if out == nil {
			h := x.W.Header()
			h["Content-Type"], h["Vary"] = applicationJSON, acceptEncoding
			if len(part) < PartBytes {
				x.Reply(http.StatusOK, part)
				return nil
			}
			x.status, out = http.StatusOK, x.W
			if accept.Gzip(x.R.Header["Accept-Encoding"]) && h["Content-Encoding"] == nil {
				h["Content-Encoding"] = gzipped
				z = x.api.gzips.Get().(*gzip.Writer)
				defer x.api.gzips.Put(z)
				z.Reset(x.W)
				out = z
			}
		}
		_ = rc.SetWriteDeadline(time.Now().Add(stall)) // a writer without deadlines does not stall
		if _, err := out.Write(part); err != nil {
			return nil // what cannot be sent has no reader any more
		}
	}
	if out == nil { // a long list is empty by now
		return x.Missing()
	}
	if z != nil {
		_ = z.Close()
	}
	_ = rc.SetWriteDeadline(time.Time{})
	return nil
}

// Truth answers true or false.
func (x *Exchange) Truth(ok bool) error {
	text := "false"
	if ok {
		text = "true"
	}
	return x.JSONBytes(http.StatusOK, []byte(text))
}

// Text answers with plain text.
func (x *Exchange) Text(status int, text string) error {
	x.W.Header()["Content-Type"] = plainText
	x.Reply(status, []byte(text))
	return nil
}

// Raw answers 200 with bytes that a browser must not take for a page.
func (x *Exchange) Raw(b []byte) error {
	out := x.W.Header()
	out["Content-Type"], out["X-Content-Type-Options"], out["Content-Security-Policy"] = plainText, noSniff, sandbox
	x.Reply(http.StatusOK, b)
	return nil
}

// Plain sets the headers of an answer of plain text that the handler sends itself.
func (x *Exchange) Plain() {
	x.W.Header()["Content-Type"] = plainText
	x.W.Header()["X-Content-Type-Options"] = noSniff
}

// BreakOff ends the connection of an answer that an error cut short, or its stream of
// HTTP/2, so that the client does not take what it has for the whole. What tells the
// log so. It may end the handler with a panic.
func (x *Exchange) BreakOff(control *http.ResponseController, what string, err error) {
	x.api.log.Warn(what, "path", x.R.URL.Path, "error", err)
	conn, _, err := control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.Close()
}

// Empty answers without a body.
func (x *Exchange) Empty(status int) {
	x.status = status
	x.W.WriteHeader(status)
}

// Missing answers 404 to who asked for a key or for keys: with where the datacenter
// stands, to wait for one, and without how the read was made, as clients know it.
func (x *Exchange) Missing() error {
	delete(x.W.Header(), "X-Consul-Effective-Consistency")
	x.Empty(http.StatusNotFound)
	return nil
}

// Reply sends the answer, compressed if that is worth it. Short ones are the same
// for everybody and do without Vary: it would be the ninth header of a read, and a
// map of more than eight is a table, a fiftieth of a short answer's cost. What cannot be sent
// has no reader any more: errors of the connection end here.
func (x *Exchange) Reply(status int, b []byte) {
	if len(b) >= minCompressed {
		h := x.W.Header()
		h["Vary"] = acceptEncoding
		if accept.Gzip(x.R.Header["Accept-Encoding"]) && h["Content-Encoding"] == nil {
			x.writeGzip(status, b)
			return
		}
	}
	x.send(status, b)
}

func (x *Exchange) send(status int, b []byte) {
	x.status = status
	if x.Waits {
		x.deliver(status, b)
		return
	}
	if len(b) > minCompressed { // net/http counts short ones itself
		x.W.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	}
	if status != http.StatusOK {
		x.W.WriteHeader(status)
	}
	_, _ = x.W.Write(b)
}

// deliver sends the answer of who waited before anything else is done for him: a change
// may have woken thousands, whose answers go before what follows each of them.
func (x *Exchange) deliver(status int, b []byte) {
	x.W.Header()["Content-Length"] = []string{strconv.Itoa(len(b))} // it is sent before its end is known
	x.W.WriteHeader(status)
	_, _ = x.W.Write(b)
	_ = http.NewResponseController(x.W).Flush() // who cannot flush sends it in the end
	runtime.Gosched()
}

func (x *Exchange) writeGzip(status int, b []byte) {
	buf := x.Buffer()
	defer x.Release(buf)
	z := x.api.gzips.Get().(*gzip.Writer)
	defer x.api.gzips.Put(z)
	z.Reset(buf)
	_, err := z.Write(b)
	if err == nil {
		err = z.Close()
	}
	if err != nil || buf.Len() >= len(b) { // a buffer does not fail; what does not shrink goes as it is
		x.send(status, b)
		return
	}
	x.W.Header()["Content-Encoding"] = gzipped
	x.send(status, buf.Bytes())
}

// Buffer lends an empty buffer until Release.
func (x *Exchange) Buffer() *bytes.Buffer {
	buf := x.api.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	return buf
}

// Release gives a buffer back.
func (x *Exchange) Release(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooledBuffer {
		x.api.buffers.Put(buf)
	}
}

// Delegate lets another handler answer; it sets its own headers.
func (x *Exchange) Delegate(h http.Handler) error {
	if h == nil {
		return Refuse(http.StatusNotFound, "This agent has no metrics")
	}
	x.status = http.StatusOK
	h.ServeHTTP(&statusWriter{ResponseWriter: x.W, status: &x.status}, x.R)
	return nil
}

// statusWriter notes the status of an answer that another handler gives.
type statusWriter struct {
	http.ResponseWriter
	status *int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	*w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

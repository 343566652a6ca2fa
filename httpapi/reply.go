package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/httpapi/accept"
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
	allow           = []string{"allow"}
	blockingQuery   = []string{"blocking-query"}
	byLeader        = []string{"leader"}
	byQuorum        = []string{"consistent"}
	byAny           = []string{"stale"}
	miss            = []string{"MISS"}
	hit             = []string{"HIT"}
)

// meta sets the headers of a read from what came back with its result. Names
// are in canonical form: the map is written without conversion.
func (x *exchange) meta(m *op.Meta) {
	h := x.w.Header()
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
	h["X-Consul-Default-Acl-Policy"] = allow
	if m.Filtered {
		h["X-Consul-Results-Filtered-By-Acls"] = yes
	}
	if m.Age > 0 {
		set("Age", seconds(m.Age))
	}
	if len(m.Outcomes) > 0 {
		h[headerDatacenters] = []string{outcomes(m.Outcomes)}
	}
	x.cached(m.Hit)
	x.datacenter(m)
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

// cached says of an answer that was asked for with ?cached whether it was there
// already. Its age is 0 while its owner pushes what is newer.
func (x *exchange) cached(there bool) {
	if len(x.params) == 0 || !x.has("cached") {
		return
	}
	h := x.w.Header()
	h["X-Cache"] = miss
	if there {
		h["X-Cache"] = hit
	}
	if h["Age"] == nil {
		h["Age"] = zero
	}
}

// datacenter sets which datacenter answered.
func (x *exchange) datacenter(m *op.Meta) {
	switch m.Datacenter {
	case "":
	case x.s.cfg.Datacenter:
		x.w.Header()[headerDatacenter] = x.s.here
	default:
		x.w.Header()[headerDatacenter] = []string{m.Datacenter}
	}
}

// json answers 200 with v.
func (x *exchange) json(v any) error { return x.jsonStatus(http.StatusOK, v) }

// jsonStatus answers with v in the shape of encoding/json, indented if the
// client asked for that.
func (x *exchange) jsonStatus(status int, v any) error {
	buf := x.buffer()
	defer x.release(buf)
	if err := json.NewEncoder(buf).Encode(v); err != nil {
		return err
	}
	buf.Truncate(buf.Len() - 1) // the encoder ends with a newline
	return x.jsonBytes(status, buf.Bytes())
}

// jsonBytes answers with a JSON text.
func (x *exchange) jsonBytes(status int, b []byte) error {
	if x.selects && x.same(b) {
		return errSame
	}
	if x.pretty() {
		buf := x.buffer()
		defer x.release(buf)
		if err := json.Indent(buf, b, "", "    "); err != nil {
			return err
		}
		buf.WriteByte('\n')
		b = buf.Bytes()
	}
	x.w.Header()["Content-Type"] = applicationJSON
	x.write(status, b)
	return nil
}

// pretty reports whether the client asked for indented JSON.
func (x *exchange) pretty() bool { return len(x.params) > 0 && x.has("pretty") }

// stall is how long a client may take nothing of a long answer.
const stall = 30 * time.Second

// jsonParts answers 200 with a JSON text that comes in parts, sent as they come: none
// but the last is shorter than partBytes. A part is not kept. When one fails the
// answer breaks off: the client must not take for whole what it has.
func (x *exchange) jsonParts(parts iter.Seq2[[]byte, error]) error {
	var out io.Writer
	var z *gzip.Writer
	rc := http.NewResponseController(x.w)
	for part, err := range parts {
		if err != nil && out == nil {
			return err
		}
		if err != nil {
			x.s.log.Warn("a long answer broke off", "path", x.r.URL.Path, "error", err)
			x.breakOff(rc)
			return nil
		}
		if out == nil {
			h := x.w.Header()
			h["Content-Type"], h["Vary"] = applicationJSON, acceptEncoding
			if len(part) < partBytes {
				x.write(http.StatusOK, part)
				return nil
			}
			x.status, out = http.StatusOK, x.w
			if accept.Gzip(x.r.Header["Accept-Encoding"]) && h["Content-Encoding"] == nil {
				h["Content-Encoding"] = gzipped
				z = x.s.gzips.Get().(*gzip.Writer)
				defer x.s.gzips.Put(z)
				z.Reset(x.w)
				out = z
			}
		}
		_ = rc.SetWriteDeadline(time.Now().Add(stall)) // a writer without deadlines does not stall
		if _, err := out.Write(part); err != nil {
			return nil // what cannot be sent has no reader any more
		}
	}
	if out == nil { // a long list is empty by now
		x.empty(http.StatusNotFound)
		return nil
	}
	if z != nil {
		_ = z.Close()
	}
	_ = rc.SetWriteDeadline(time.Time{})
	return nil
}

// truth answers true or false.
func (x *exchange) truth(ok bool) error {
	text := "false"
	if ok {
		text = "true"
	}
	return x.jsonBytes(http.StatusOK, []byte(text))
}

// empty answers without a body.
func (x *exchange) empty(status int) {
	x.status = status
	x.w.WriteHeader(status)
}

// write sends the answer, compressed if that is worth it. Short ones are the same
// for everybody and do without Vary: it would be the ninth header of a read, and a
// map of more than eight is a table, a fiftieth of a short answer's cost. What cannot be sent
// has no reader any more: errors of the connection end here.
func (x *exchange) write(status int, b []byte) {
	if len(b) >= minCompressed {
		h := x.w.Header()
		h["Vary"] = acceptEncoding
		if accept.Gzip(x.r.Header["Accept-Encoding"]) && h["Content-Encoding"] == nil {
			x.writeGzip(status, b)
			return
		}
	}
	x.send(status, b)
}

func (x *exchange) send(status int, b []byte) {
	if len(b) > minCompressed { // net/http counts short ones itself
		x.w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	}
	x.status = status
	if status != http.StatusOK {
		x.w.WriteHeader(status)
	}
	_, _ = x.w.Write(b)
}

func (x *exchange) writeGzip(status int, b []byte) {
	buf := x.buffer()
	defer x.release(buf)
	z := x.s.gzips.Get().(*gzip.Writer)
	defer x.s.gzips.Put(z)
	z.Reset(buf)
	_, err := z.Write(b)
	if err == nil {
		err = z.Close()
	}
	if err != nil || buf.Len() >= len(b) { // a buffer does not fail; what does not shrink goes as it is
		x.send(status, b)
		return
	}
	x.w.Header()["Content-Encoding"] = gzipped
	x.send(status, buf.Bytes())
}

func (x *exchange) buffer() *bytes.Buffer {
	buf := x.s.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	return buf
}

func (x *exchange) release(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooledBuffer {
		x.s.buffers.Put(buf)
	}
}

// delegate lets another handler answer; it sets its own headers.
func (x *exchange) delegate(h http.Handler) error {
	if h == nil {
		return refuse(http.StatusNotFound, "This agent has no metrics")
	}
	x.status = http.StatusOK
	h.ServeHTTP(&statusWriter{ResponseWriter: x.w, status: &x.status}, x.r)
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

package rest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/httpapi/rest/cachecontrol"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/op"
)

// Header reads what all operations share from the request.
func (x *Exchange) Header() (op.Header, error) {
	h := op.Header{Token: x.Token()}
	if len(x.params) == 0 {
		x.anyServer(&h)
		return h, nil
	}
	if h.Datacenter = x.Get("dc"); h.Datacenter == "" {
		h.Datacenter = x.Get("datacenter")
	}
	if err := x.consistency(&h); err != nil {
		return h, err
	}
	if err := x.blocking(&h); err != nil {
		return h, err
	}
	switch h.Near = x.Get("near"); h.Near {
	case "_agent":
		h.Near = x.api.cfg.NodeName
	case "_ip":
		host, _, err := net.SplitHostPort(x.R.RemoteAddr)
		if err != nil { // a Unix socket: the client is on this node
			h.Near = x.api.cfg.NodeName
			break
		}
		h.Near = op.NearAddress + host
	}
	return h, nil
}

// Token is the request's own or, if it has none, the agent's for such.
func (x *Exchange) Token() string {
	if t := x.OwnToken(); t != "" || x.api.cfg.DefaultToken == nil {
		return t
	}
	return x.api.cfg.DefaultToken()
}

// OwnToken is the token that the request itself brings.
func (x *Exchange) OwnToken() string {
	if len(x.params) > 0 {
		if t := x.Get("token"); t != "" {
			return t
		}
	}
	if v := x.R.Header["X-Consul-Token"]; len(v) > 0 && v[0] != "" {
		return v[0]
	}
	if v := x.R.Header["Authorization"]; len(v) > 0 {
		if kind, secret, ok := strings.Cut(v[0], " "); ok && strings.EqualFold(kind, "Bearer") {
			return strings.TrimSpace(secret)
		}
	}
	return ""
}

func (x *Exchange) consistency(h *op.Header) error {
	stale, consistent, cached := x.Has("stale"), x.Has("consistent"), x.Has("cached")
	if text := x.Get("max_stale"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return Refuse(http.StatusBadRequest, "Invalid max_stale value \""+text+"\"")
		}
		if d > 0 {
			h.MaxStale, stale = d, true
		}
	}
	switch {
	case stale && consistent:
		return Refuse(http.StatusBadRequest, "Cannot specify ?stale with ?consistent, conflicting semantics.")
	case cached && consistent:
		return Refuse(http.StatusBadRequest, "Cannot specify ?cached with ?consistent, conflicting semantics.")
	case stale && x.Has("leader"):
		return Refuse(http.StatusBadRequest, "Cannot specify ?stale with ?leader, conflicting semantics.")
	case consistent:
		h.Consistency = op.Consistent
		return nil
	case cached && x.api.cfg.HTTP.UseCache: // with ?stale as well: who asks for both means what is kept
		if err := x.cacheControl(h); err != nil || h.Consistency == op.Cached {
			return err
		}
	}
	switch {
	case stale:
		h.Consistency = op.Stale
	case !x.Has("leader"):
		x.anyServer(h)
	}
	return nil
}

// anyServer lets any server answer a read of a discovery route that asks for no
// consistency, as far as the configuration allows.
func (x *Exchange) anyServer(h *op.Header) {
	if x.maxStale > 0 {
		h.Consistency, h.MaxStale = op.Stale, x.maxStale
	}
}

// cacheControl reads what ?cached is to mean. What is kept is pushed by its
// owner and ages only while that cannot be reached; so stale-if-error, where it
// is given, says how old it may become, else max-age, else max_stale.
func (x *Exchange) cacheControl(h *op.Header) error {
	c, err := cachecontrol.Parse(x.R.Header["Cache-Control"])
	if err != nil {
		return Refuse(http.StatusBadRequest, err.Error())
	}
	if c.Revalidate && c.StaleIfError == 0 {
		return nil
	}
	h.Consistency, h.MaxAge = op.Cached, max(c.MaxAge, c.StaleIfError)
	if h.MaxAge == 0 {
		h.MaxAge = h.MaxStale
	}
	h.MaxStale = 0
	return nil
}

func (x *Exchange) blocking(h *op.Header) error {
	if text := x.Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return Refuse(http.StatusBadRequest, "Invalid wait time")
		}
		h.MaxWait = d
	}
	if text := x.Get("index"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return Refuse(http.StatusBadRequest, "Invalid index")
		}
		h.MinIndex = n
	}
	if h.MinIndex == 0 {
		h.MaxWait = 0
		return nil
	}
	if h.MaxWait == 0 {
		h.MaxWait = x.api.cfg.DefaultQueryTime
	}
	h.MaxWait = min(h.MaxWait, x.api.cfg.MaxQueryTime)
	h.MinIndex, h.MaxWait = x.wait.On(h.MinIndex, h.MaxWait)
	x.Waits = true
	return nil
}

// Current is header for what does not wait.
func (x *Exchange) Current() (op.Header, error) {
	h, err := x.Header()
	h.MinIndex, h.MaxWait, x.Waits = 0, 0, false
	if h.Consistency == op.Cached { // nothing of this is kept
		h.Consistency, h.MaxAge = op.Default, 0
		if x.Has("stale") {
			h.Consistency = op.Stale
		}
	}
	return h, err
}

// Flag reads a parameter that may stand without a value.
func (x *Exchange) Flag(name string) (bool, error) {
	if !x.Has(name) {
		return false, nil
	}
	text := x.Get(name)
	if text == "" {
		return true, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, Refuse(http.StatusBadRequest, "Invalid value for ?"+name)
	}
	return v, nil
}

// Number reads a parameter that is a count.
func (x *Exchange) Number(name string) (n uint64, given bool, err error) {
	if !x.Has(name) {
		return 0, false, nil
	}
	n, err = strconv.ParseUint(x.Get(name), 10, 64)
	if err != nil {
		return 0, true, Refuse(http.StatusBadRequest, "Invalid value for ?"+name+": want a whole number from 0")
	}
	return n, true, nil
}

// Argument returns the rest of the path, or an error with the text if there is
// none.
func (x *Exchange) Argument(missing string) (string, error) {
	if x.Rest == "" {
		return "", Refuse(http.StatusBadRequest, missing)
	}
	return x.Rest, nil
}

// Body reads the request's body of at most limit bytes, within bodyTimeout.
// Memory grows with what arrives, not with what was announced.
func (x *Exchange) Body(limit int64) ([]byte, error) {
	key := "limits.kv_max_value_size"
	if limit == MaxBody { // that one is not configurable
		key = ""
	}
	return x.BodyWithin(limit, key)
}

// BodyWithin is Body with the key of the configuration that sets the limit.
func (x *Exchange) BodyWithin(limit int64, key string) ([]byte, error) {
	n := x.R.ContentLength
	if n > limit {
		return nil, x.tooLarge(n, limit, key)
	}
	if n == 0 {
		return nil, nil
	}
	control := http.NewResponseController(x.W)
	if control.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		// Reading goes on behind the body: that is how a lost client is noticed.
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	const trusted = 64 << 10
	buf := bytes.NewBuffer(make([]byte, 0, min(max(n, 0), trusted)+bytes.MinRead))
	who := "" // all who use a Unix socket have what there is
	if addr := AddrOf(x.R.RemoteAddr); addr.IsValid() {
		who = addr.String()
	}
	in := x.api.bodies.ReaderFor(who, io.LimitReader(x.R.Body, limit+1), trusted)
	defer in.Release()
	read, err := buf.ReadFrom(in)
	if errors.Is(err, admission.ErrBudget) {
		x.W.Header().Set("Connection", "close") // the rest of the body is not read
		return nil, Reasoned(http.StatusTooManyRequests, "busy", "The agent receives too many large request bodies at this time, in all or from this address: try again later")
	}
	if err != nil {
		return nil, Refuse(http.StatusBadRequest, "Request body cannot be read: "+err.Error())
	}
	if read > limit {
		return nil, x.tooLarge(read, limit, key)
	}
	return buf.Bytes(), nil
}

func (x *Exchange) tooLarge(n, limit int64, key string) error {
	text := "Request body(" + strconv.FormatInt(n, 10) + " bytes) too large, max size: " + strconv.FormatInt(limit, 10) + " bytes."
	if key != "" {
		text += " See the configuration key " + key + "."
	}
	x.W.Header().Set("Connection", "close") // the rest of the body is not read
	return &failure{http.StatusRequestEntityTooLarge, "too-large", text}
}

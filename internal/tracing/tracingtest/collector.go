// Package tracingtest has a collector of traces for tests.
package tracingtest

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector takes what exporters send over HTTP, as protocol buffers.
type Collector struct {
	URL string

	mu       sync.Mutex
	spans    []Span
	requests []http.Header
}

// Span is a span with the resource that it is of. IDs are in hexadecimal, and all
// attributes are texts.
type Span struct {
	Trace, ID, Parent, Name string
	State                   string // tracestate
	Kind                    trace.Span_SpanKind
	Start, End              uint64 // ns since 1970
	Attributes, Resource    map[string]string
	Events                  []string
	// Failed is why, "" if it did not.
	Failed string
}

// Start starts a Collector that ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var sent collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &sent)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint("no traces: ", err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r.Header)
	for _, of := range sent.ResourceSpans {
		for _, in := range of.ScopeSpans {
			for _, s := range in.Spans {
				c.spans = append(c.spans, spanOf(of.Resource.Attributes, s))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func spanOf(resource []*common.KeyValue, s *trace.Span) Span {
	out := Span{Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), Name: s.Name, Kind: s.Kind,
		State: s.TraceState,
		Start: s.StartTimeUnixNano, End: s.EndTimeUnixNano, Attributes: texts(s.Attributes), Resource: texts(resource)}
	for _, e := range s.Events {
		out.Events = append(out.Events, e.Name)
	}
	if s.Status.GetCode() == trace.Status_STATUS_CODE_ERROR {
		out.Failed = s.Status.GetMessage()
	}
	return out
}

func texts(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			out[a.Key] = fmt.Sprint(v.BoolValue)
		default:
			out[a.Key] = fmt.Sprint(a.Value)
		}
	}
	return out
}

// Spans lists what has come of a trace, of all if it is "".
func (c *Collector) Spans(of string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Span
	for _, s := range c.spans {
		if of == "" || s.Trace == of {
			out = append(out, s)
		}
	}
	return out
}

// Requests lists the headers of the requests that have come.
func (c *Collector) Requests() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.requests...)
}

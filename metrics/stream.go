package metrics

import (
	"net/http"
	"time"
)

const (
	// StreamInterval is the usual time between the dumps of a stream.
	StreamInterval = 10 * time.Second
	// MaxStreams bounds streams at the same time; more are answered 503.
	MaxStreams = 8
	// streamWrite bounds how long one dump may wait for a client to read it.
	streamWrite = 30 * time.Second
)

// StreamHandler serves /v1/agent/metrics/stream: a Dump as one line of JSON at
// once and then in each interval, until the client goes or its request's
// context ends.
func (r *Registry) StreamHandler(names Names, interval time.Duration) http.Handler {
	turns := make(chan struct{}, MaxStreams)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		default:
			http.Error(w, "too many metric streams", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		out := http.NewResponseController(w)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			b, err := r.dump(names)
			if err != nil {
				return // counted; the client sees the stream end
			}
			_ = out.SetWriteDeadline(time.Now().Add(streamWrite)) // without one a dead client is noticed later
			if _, err := w.Write(append(b, '\n')); err != nil || out.Flush() != nil {
				return // the client is gone
			}
			select {
			case <-req.Context().Done():
				return
			case <-tick.C:
			}
		}
	})
}

package events

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// User events come from any member of the pool.
func FuzzReceive(f *testing.F) {
	_, b, err := Pack(Event{ID: "11111111-2222-3333-4444-555555555555", Name: "deploy", Payload: []byte("x"), NodeFilter: "n.*", ServiceFilter: "web", TagFilter: "(a|b)+"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x86, 0xc4, 0xff})
	r := New(Config{NodeName: "n1", Services: func() []Service { return []Service{{Name: "web", Tags: []string{"a"}}} }, Registerer: prometheus.NewRegistry()})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = r.Receive(b, 1) // kept or refused
		if list, _ := r.List(""); len(list) > Kept {
			t.Errorf("%d events are kept", len(list))
		}
	})
}

package metrics

import (
	"bufio"
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// stats is what a statsd server makes of lines.
type stats struct {
	counters, gauges map[string]float64
	timers           map[string]float64 // how often
	tags             map[string]string
}

func parse(t *testing.T, lines []string) *stats {
	t.Helper()
	s := &stats{map[string]float64{}, map[string]float64{}, map[string]float64{}, map[string]string{}}
	for _, line := range lines {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		name, text, ok := strings.Cut(parts[0], ":")
		value, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || len(parts) < 2 || name == "" {
			t.Fatalf("line %q: %v", line, err)
		}
		times := 1.0
		for _, more := range parts[2:] {
			switch {
			case more[0] == '@':
				rate, err := strconv.ParseFloat(more[1:], 64)
				if err != nil || rate <= 0 || rate > 1 {
					t.Fatalf("line %q: %v", line, err)
				}
				times = 1 / rate
			case more[0] == '#':
				s.tags[name] = more[1:]
			}
		}
		switch parts[1] {
		case "c":
			s.counters[name] += value
		case "g":
			s.gauges[name] = value
		case "ms":
			s.timers[name] += times
		default:
			t.Fatalf("line %q", line)
		}
	}
	return s
}

// pushed runs Push to a UDP server, or TCP for statsite, and returns what reads
// what came until want is among it.
func pushed(t *testing.T, r *Registry, sink Sink, names Names) (until func(want string) *stats) {
	t.Helper()
	lines := make(chan string, 4096)
	if sink.Protocol == Statsite {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		sink.Addr = l.Addr().String()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				for s := bufio.NewScanner(c); s.Scan(); {
					lines <- s.Text()
				}
				c.Close()
			}
		}()
	} else {
		l, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		sink.Addr = l.LocalAddr().String()
		go func() {
			b := make([]byte, 1<<16)
			for {
				n, _, err := l.ReadFrom(b)
				if err != nil {
					return
				}
				if n > maxPacket || b[n-1] != '\n' {
					t.Errorf("a packet of %d bytes", n)
				}
				for line := range strings.Lines(string(b[:n])) {
					lines <- line
				}
			}
		}()
	}
	run(t, r, sink, names)
	var all []string
	return func(want string) *stats {
		t.Helper()
		for late := time.After(10 * time.Second); ; {
			select {
			case line := <-lines:
				if all = append(all, line); strings.Contains(line, want) {
					return parse(t, all)
				}
			case <-late:
				t.Fatalf("%s did not come", want)
			}
		}
	}
}

func run(t *testing.T, r *Registry, sink Sink, names Names) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Push(ctx, sink, names, 20*time.Millisecond)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestMetricsArePushed(t *testing.T) {
	for _, c := range []struct {
		sink                         Sink
		counter, next, timer, gauges string
	}{
		{Sink{Protocol: Statsd}, "consul.memberlist.msg.alive.lan", "consul.memberlist.msg.dead.lan", "consul.api.http.GET.v1_kv_", "consul.h1.runtime.num_goroutines"},
		{Sink{Protocol: Statsite}, "consul.memberlist.msg.alive.lan", "consul.memberlist.msg.dead.lan", "consul.api.http.GET.v1_kv_", "consul.h1.runtime.num_goroutines"},
		{Sink{Protocol: DogStatsD, Tags: []string{"env:test"}}, "consul.memberlist.msg.alive", "consul.memberlist.msg.dead", "consul.api.http", "consul.runtime.num_goroutines"},
	} {
		t.Run(string(c.sink.Protocol), func(t *testing.T) {
			r := NewRegistry("n")
			defer r.Close()
			h := calls(r)
			gometrics.IncrCounterWithLabels([]string{"memberlist", "msg", "alive"}, 3, labels("n", "lan"))
			for range 7 {
				h.WithLabelValues("/v1/kv/", "GET").Observe(0.05)
			}
			h.WithLabelValues("/v1/kv/", "GET").Observe(500) // above all buckets
			until := pushed(t, r, c.sink, named)
			until(c.timer)
			gometrics.IncrCounterWithLabels([]string{"memberlist", "msg", "alive"}, 2, labels("n", "lan"))
			gometrics.IncrCounterWithLabels([]string{"memberlist", "msg", "dead"}, 1, labels("n", "lan"))
			until(c.next) // which comes after alive
			s := until(c.gauges)
			if n := s.counters[c.counter]; n != 5 {
				t.Errorf("of 5 messages %v came: %v", n, slices.Sorted(maps.Keys(s.counters)))
			}
			if n := s.timers[c.timer]; n < 7.999 || n > 8.001 {
				t.Errorf("of 8 calls %v came", n)
			}
			if s.gauges[c.gauges] < 1 {
				t.Errorf("%s is %v", c.gauges, s.gauges[c.gauges])
			}
			want := ""
			if c.sink.Protocol == DogStatsD {
				want = "env:test,host:h1,network:lan"
			}
			if got := s.tags[c.counter]; got != want {
				t.Errorf("tags %q", got)
			}
			if n := testutil.ToFloat64(r.pushErrors.WithLabelValues(string(c.sink.Protocol))); n != 0 {
				t.Errorf("%v errors", n)
			}
		})
	}
}

func TestServersThatComeLaterGetMetrics(t *testing.T) {
	r := NewRegistry("n")
	defer r.Close()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.LocalAddr().String()
	l.Close()
	if err := (Sink{Protocol: Statsite, Addr: addr}).Check(t.Context()); err == nil {
		t.Error("a statsite server that does not exist can be reached")
	}
	for _, p := range []Protocol{Statsd, Statsite} {
		run(t, r, Sink{Protocol: p, Addr: addr}, named)
	}
	for late := time.After(10 * time.Second); testutil.ToFloat64(r.pushErrors.WithLabelValues(string(Statsite))) < 3; {
		select {
		case <-late:
			t.Fatal("no errors are counted")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if l, err = net.ListenPacket("udp", addr); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stream, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	b := make([]byte, maxPacket)
	if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := l.ReadFrom(b); err != nil || !strings.Contains(string(b[:n]), "consul.") {
		t.Errorf("%q, %v", b[:n], err)
	}
	c, err := stream.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(b); err != nil || !strings.Contains(string(b[:n]), "consul.") {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestPacketsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 600) + "\n"
	out := packets([]string{long, long, long, strings.Repeat("y", 2000) + "\n", "z\n"})
	if len(out) != 2 || len(out[0]) != 1202 || string(out[1]) != long+"z\n" {
		t.Errorf("%d packets", len(out))
	}
	if packets(nil) != nil {
		t.Error("nothing makes a packet")
	}
}

func TestWhatHasAMeaningIsReplaced(t *testing.T) {
	f := form{sink: Sink{Protocol: Statsd}}
	if got := f.line("a:b", map[string]string{"l": "c|d@e#f g"}, 1.5, "c", 0); got != "a_b.c_d_e_f_g:1.5|c\n" {
		t.Errorf("%q", got)
	}
}

// An agent that stops does not wait for a server that takes connections and reads
// nothing.
func TestAServerThatReadsNothingDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		lines := slices.Repeat([]string{strings.Repeat("x", maxPacket)}, 32<<20/maxPacket) // more than sockets keep
		ended <- Sink{Protocol: Statsite, Addr: l.Addr().String()}.send(ctx, lines)
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all was sent")
		}
	case <-time.After(pushTimeout / 2):
		t.Error("it goes on")
	}
}

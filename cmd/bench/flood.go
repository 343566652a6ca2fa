package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// A flood of questions: several sockets, each with some on their way at a time, read and
// written in batches, so that the load costs less than what it loads.
const (
	floodSockets = 16
	floodWindow  = 12
	floodLost    = time.Second // after which what is not answered is asked again
)

// floodOf asks the questions one after the other, as fast as answers come.
func floodOf(ctx context.Context, addr string, questions [][]byte, d time.Duration) (outcome, error) {
	const warmUp = 300 * time.Millisecond
	begin := time.Now().Add(warmUp)
	end := begin.Add(d)
	var mu sync.Mutex
	var all []time.Duration
	var out outcome
	answers := 0
	var wg sync.WaitGroup
	for i := range floodSockets {
		s, err := newStream(addr, questions, i*len(questions)/floodSockets)
		if err != nil {
			return out, err
		}
		wg.Go(func() {
			defer s.conn.Close()
			err := s.run(ctx, begin, end)
			mu.Lock()
			defer mu.Unlock()
			all, answers, out.errors = append(all, s.took...), answers+s.answers, out.errors+s.lost
			if out.first == nil {
				out.first = err
			}
		})
	}
	wg.Wait()
	if out.first != nil || ctx.Err() != nil {
		return out, errors.Join(out.first, ctx.Err())
	}
	if out.errors > answers/1000+floodSockets*floodWindow {
		return out, fmt.Errorf("%d questions were lost, %d answered", out.errors, answers)
	}
	slices.Sort(all)
	if len(all) > 0 {
		out.p50, out.p99 = all[len(all)/2], all[len(all)*99/100]
	}
	out.rate = float64(answers) / d.Seconds()
	return out, nil
}

// stream is one socket of a flood.
type stream struct {
	conn      *net.UDPConn
	batches   *ipv4.PacketConn
	questions [][]byte
	next      int // of them
	in, out   []ipv4.Message
	asked     [floodWindow]struct {
		id uint16
		at time.Time
	}
	answers, lost int
	took          []time.Duration // of some of them
}

func newStream(addr string, questions [][]byte, first int) (*stream, error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return nil, err
	}
	s := &stream{conn: c.(*net.UDPConn), questions: questions, next: first, in: make([]ipv4.Message, floodWindow), out: make([]ipv4.Message, floodWindow)}
	s.batches = ipv4.NewPacketConn(s.conn)
	for i := range s.in {
		s.in[i].Buffers, s.out[i].Buffers = [][]byte{make([]byte, 4096)}, [][]byte{nil}
	}
	return s, nil
}

func (s *stream) run(ctx context.Context, begin, end time.Time) error {
	free := make([]int, floodWindow)
	for i := range free {
		free[i] = i
	}
	for ctx.Err() == nil && time.Now().Before(end) {
		if err := s.ask(free); err != nil {
			return err
		}
		free = free[:0]
		if err := s.conn.SetReadDeadline(time.Now().Add(floodLost)); err != nil {
			return err
		}
		n, err := s.batches.ReadBatch(s.in, 0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.lost += floodWindow
			for i := range floodWindow {
				free = append(free, i)
			}
			continue
		}
		if err != nil {
			return err
		}
		now := time.Now()
		for _, m := range s.in[:n] {
			b := m.Buffers[0][:m.N]
			const header, answers = 12, 7
			if len(b) < header || b[3]&0xf != 0 || b[answers] == 0 {
				return fmt.Errorf("answer of %d bytes, code %d, %d records", len(b), b[3]&0xf, b[answers])
			}
			id := binary.BigEndian.Uint16(b)
			slot := int(id % floodWindow)
			if s.asked[slot].id != id { // late
				continue
			}
			s.asked[slot].id = 0
			free = append(free, slot)
			if now.Before(begin) || now.After(end) {
				continue
			}
			if s.answers++; s.answers%8 == 0 {
				s.took = append(s.took, now.Sub(s.asked[slot].at))
			}
		}
	}
	return nil
}

// ask sends the next questions, in the places that are free.
func (s *stream) ask(free []int) error {
	out, now := s.out[:0], time.Now()
	for _, slot := range free {
		at := &s.asked[slot]
		at.id, at.at = uint16(slot+floodWindow*(1+s.next%(1<<16/floodWindow-1))), now
		m := s.out[:len(out)+1][len(out)]
		m.Buffers[0] = append(m.Buffers[0][:0], s.questions[s.next%len(s.questions)]...)
		binary.BigEndian.PutUint16(m.Buffers[0], at.id)
		s.next++
		out = append(out, m)
	}
	for len(out) > 0 {
		n, err := s.batches.WriteBatch(out, 0)
		if err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

// questionsOf are questions as resolvers ask them, with EDNS.
func questionsOf(qtype uint16, names ...string) (out [][]byte, err error) {
	for _, name := range names {
		b, err := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false).Pack()
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// processor is the time that a process has had, of all cores.
func processor(pid int) (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may have spaces
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var sum time.Duration
	for _, f := range []string{fields[user], fields[system]} {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// floodAs is this program as a load of a process of its own: it asks for addresses of a name,
// and says how many answers came in a second.
func floodAs(args []string) error {
	if len(args) != 3 {
		return errors.New("use: bench flood ADDRESS NAME DURATION")
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	questions, err := questionsOf(dns.TypeA, args[1])
	if err != nil {
		return err
	}
	out, err := floodOf(context.Background(), args[0], questions, d)
	if err == nil {
		_, err = fmt.Printf("%.0f\n", out.rate)
	}
	return err
}

//go:build linux

package proctest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell makes the shell the program under test.
func shell(t *testing.T) { t.Setenv(BinaryVar, "/bin/sh") }

func TestAProcessIsHeardUntilItEnds(t *testing.T) {
	shell(t)
	p := Start(t, Machine(), "talker", "-c", "echo one; read word; echo two; exit 3")
	if got := p.WaitLine(0, time.Minute, "o", "ne"); got != "one" {
		t.Errorf("hears %q", got)
	}
	if code := p.WaitExit(time.Minute); code != 3 || !p.Exited() { // its standard input is empty
		t.Errorf("exit code %d", code)
	}
	if got := p.String(); got != "one\ntwo\n" {
		t.Errorf("heard %q", got)
	}
	if r := Run(t, Machine(), "-c", "echo out; echo err >&2; exit 2"); r != (Result{Stdout: "out\n", Stderr: "err\n", Code: 2}) {
		t.Errorf("a command leaves %+v", r)
	}
}

func TestAProcessIsKilled(t *testing.T) {
	shell(t)
	p := Start(t, Machine(), "stubborn", "-c", "trap '' TERM INT; echo up; while :; do sleep 1; done")
	p.WaitLine(0, time.Minute, "up")
	if now, peak, err := p.Memory(); err != nil || now == 0 || peak < now {
		t.Errorf("holds %d bytes, at most %d (%v)", now, peak, err)
	}
	p.Signal(syscall.SIGTERM)
	if p.Exited() {
		t.Error("a signal that it ignores ends it")
	}
	p.Kill()
	if code := p.WaitExit(time.Minute); code != -1 {
		t.Errorf("exit code %d", code)
	}
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestOutputFindsLinesFromAMarkOn(t *testing.T) {
	o := newOutput()
	write := func(s string) {
		if _, err := io.WriteString(o, s); err != nil {
			t.Fatal(err)
		}
	}
	write("alpha\nbe")
	mark := o.Mark()
	write("ta\ngamma\n")
	if line, ok := o.Wait(mark, time.Minute, "ta", "be"); !ok || line != "beta" {
		t.Errorf("finds %q, %v", line, ok)
	}
	if line, ok := o.Wait(mark, time.Millisecond, "alpha"); ok {
		t.Errorf("finds %q before the mark", line)
	}
	if got := o.Since(mark); got != "beta\ngamma\n" {
		t.Errorf("since the mark: %q", got)
	}
	for i := range 2 * maxLines {
		write(fmt.Sprintf("%d\n", i))
	}
	if n := len(o.lines); n > maxLines+maxLines/10 {
		t.Errorf("keeps %d lines", n)
	}
	if line, ok := o.Wait(0, time.Minute, fmt.Sprint(2*maxLines-1)); !ok {
		t.Errorf("the last line is lost: %q", line)
	}
	if got := strings.TrimSpace(o.Tail(1)); got != fmt.Sprint(2*maxLines-1) {
		t.Errorf("the tail is %q", got)
	}
}

// echo listens on a host.
func echo(t *testing.T, h *Host, addr string) {
	t.Helper()
	err := h.Inside(func() error {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHostsReachEachOtherThroughTheirNetworkOnly(t *testing.T) {
	f := NewFabric(t)
	left, right := f.Switch("left"), f.Switch("right")
	a, b := left.Host("a", "10.9.1.2/24", "10.9.1.1"), left.Host("b", "10.9.1.3/24", "10.9.1.1")
	c := right.Host("c", "10.9.2.2/24", "10.9.2.1")
	router := f.Router("router", Leg{left, "10.9.1.1/24"}, Leg{right, "10.9.2.1/24"})
	for _, h := range []*Host{a, b, c} {
		echo(t, h, ":4000")
	}
	reach := func(from *Host, ip string) bool {
		t.Helper()
		conn, err := from.DialContext(t.Context(), "tcp", ip+":4000")
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	if !reach(a, "10.9.1.3") || !reach(b, "10.9.1.2") || !reach(a, "10.9.2.2") || !reach(c, "10.9.1.3") {
		t.Error("hosts do not reach each other")
	}
	if reach(f.namespace("alone"), "10.9.1.2") {
		t.Error("a host that is at no switch reaches another")
	}
	f.Firewall(router, `table inet filter {
		counter hit {}
		chain forward {
			type filter hook forward priority 0; policy accept;
			tcp dport 4000 counter name hit reject with tcp reset
		}
	}`)
	if reach(a, "10.9.2.2") || !reach(a, "10.9.1.3") {
		t.Error("the firewall is not between the switches")
	}
	if n := f.Counter(router, "hit"); n == 0 {
		t.Error("the firewall counts nothing")
	}
	f.Firewall(router, "")
	if !reach(a, "10.9.2.2") {
		t.Error("the firewall stays after it was taken away")
	}
}

func TestLoopbacksAreApart(t *testing.T) {
	a, b := Loopback(t), Loopback(t)
	echo(t, a, net.JoinHostPort(a.Addr(1, 1), "4000"))
	if _, err := b.DialContext(t.Context(), "tcp", net.JoinHostPort(b.Addr(1, 1), "4000")); err == nil {
		t.Error("two tests share loopback addresses")
	}
	if c, err := a.DialContext(t.Context(), "tcp", net.JoinHostPort(a.Addr(1, 1), "4000")); err != nil {
		t.Error(err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestAbandonedNetworksAreRemoved(t *testing.T) {
	f := NewFabric(t)
	kept := f.namespace("kept")
	dead := netnsPrefix + "99999999-x" // no process has such a number
	Tool(t, Machine(), "", "ip", "netns", "add", dead)
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(netnsDir + "/" + dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the abandoned network is still there: %v", err)
	}
	if _, err := os.Stat(netnsDir + "/" + kept.netns); err != nil {
		t.Errorf("the network of a living test run: %v", err)
	}
}

// Package sdnotify tells the service manager that started this process how it fares,
// by the protocol of sd_notify(3): a datagram of lines to the socket that the
// environment names.
//
// It is silent where there is no such socket. It decides nothing: when a service is
// ready, or healthy, is its own business.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// SocketVar and the others are what the service manager sets.
const (
	SocketVar       = "NOTIFY_SOCKET"
	watchdogVar     = "WATCHDOG_USEC"
	watchdogPIDVar  = "WATCHDOG_PID"
	sendTimeout     = time.Second // a manager whose queue is full is not waited for longer
	shortestPeriod  = 10 * time.Millisecond
	longestWatchdog = 365 * 24 * time.Hour
)

// Socket is where messages go.
type Socket struct {
	conn *net.UnixConn
	// Watchdog is within which time WATCHDOG=1 is expected, again and again; 0 for
	// never.
	Watchdog time.Duration
}

// FromEnvironment opens the socket that the environment names, and nil if it names
// none. A name that begins with @ is in the abstract namespace.
func FromEnvironment() (*Socket, error) {
	path := os.Getenv(SocketVar)
	if path == "" {
		return nil, nil
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("%s=%q: want a path or @ with an abstract name", SocketVar, path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("reach the service manager (%s): %w", SocketVar, err)
	}
	watchdog, err := watchdogPeriod()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Socket{conn: conn, Watchdog: watchdog}, nil
}

// watchdogPeriod is what the environment says to this process.
func watchdogPeriod() (time.Duration, error) {
	text := os.Getenv(watchdogVar)
	pid := os.Getenv(watchdogPIDVar)
	if text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > longestWatchdog.Microseconds() {
		return 0, fmt.Errorf("%s=%q: want microseconds", watchdogVar, text)
	}
	return max(time.Duration(n)*time.Microsecond, shortestPeriod), nil
}

// Close ends it.
func (s *Socket) Close() error {
	if s == nil {
		return nil
	}
	return s.conn.Close()
}

// Send sends the lines, each VARIABLE=value, as one message. A nil Socket sends none.
func (s *Socket) Send(lines ...string) error {
	if s == nil {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	if _, err := s.conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// Ready says that the service is up, or that a reload is over.
const Ready = "READY=1"

// Stopping says that the service ends.
const Stopping = "STOPPING=1"

// Alive is what a watchdog waits for.
const Alive = "WATCHDOG=1"

// Status is a line for people; it has no line breaks.
func Status(text string) string {
	return "STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
}

// Extend asks for that much time from now on for what the service is about: its
// start or its end.
func Extend(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// Reloading says that a reload begins: two lines. Ready follows when it is over.
func Reloading() (string, error) {
	now, err := monotonic()
	if err != nil {
		return "", fmt.Errorf("read the clock for the service manager: %w", err)
	}
	return "RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Microseconds(), 10), nil
}

package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/internal/wanem"
)

// maxCommand bounds a command to a running lab, in bytes.
const maxCommand = 4 << 10

// SocketPath is where a running lab of this user takes commands.
func SocketPath() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "legate-lab-"+strconv.Itoa(os.Getuid())+".sock")
}

// command is what is sent to a running lab: set dc1-dc2 rtt=…, cut dc2, heal dc2.
type command struct {
	Words []string `json:"words"`
}

// Listen opens the socket for commands, readable by this user alone. A socket
// that a lab left behind is replaced, that of a running one is not.
func Listen(ctx context.Context) (net.Listener, error) {
	path := SocketPath()
	var d net.Dialer
	if conn, err := d.DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("a lab is running already (%s answers): stop it first", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// Control answers commands on the listener until it is closed.
func (c *Cluster) Control(l net.Listener) error {
	s := &http.Server{ReadTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var cmd command
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCommand)).Decode(&cmd); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		said, err := c.Execute(cmd.Words)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, said)
	})}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Send gives a command to the running lab and returns its answer.
func Send(ctx context.Context, words []string) (string, error) {
	body, err := json.Marshal(command{words})
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", SocketPath())
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lab/", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("no lab is running (start one with: legate lab): %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxCommand))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(text)
	}
	return text, nil
}

// Execute carries out one command and says what it did.
func (c *Cluster) Execute(words []string) (string, error) {
	if len(words) < 2 {
		return "", errors.New("use: set dc1-dc2 rtt=120ms loss=1% jitter=5ms | cut dc2 | heal dc2 | stop NODE | start NODE")
	}
	switch words[0] {
	case "cut":
		return words[1] + " is cut off from the other datacenters", c.Cut(words[1])
	case "heal":
		return words[1] + " is connected again", c.Heal(words[1])
	case "stop", "start":
		return c.power(words[0], words[1])
	case "set":
		return c.setLink(words[1], strings.Join(words[2:], " "))
	}
	return "", fmt.Errorf("unknown command %q: use set, cut, heal, stop or start", words[0])
}

func (c *Cluster) setLink(pair, text string) (string, error) {
	a, b, ok := strings.Cut(pair, "-")
	if !ok {
		return "", fmt.Errorf("%q names no link: use two datacenters, such as dc1-dc2", pair)
	}
	if text == "" {
		return "", errors.New("nothing to set: use rtt=120ms, loss=1% or jitter=5ms")
	}
	now, err := c.LinkOf(a, b)
	if err != nil {
		return "", err
	}
	l, err := wanem.ParseLink(merge(now, text))
	if err != nil {
		return "", err
	}
	if err := c.SetLink(a, b, l); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s", pair, l), nil
}

// merge puts what is not said before what is, so that it stays as it is.
func merge(now wanem.Link, text string) string {
	said := map[string]bool{}
	for _, w := range strings.Fields(text) {
		key, _, _ := strings.Cut(w, "=")
		said[key] = true
	}
	for _, w := range strings.Fields(now.String()) {
		if key, _, _ := strings.Cut(w, "="); !said[key] && key != "cut" {
			text += " " + w
		}
	}
	return text
}

func (c *Cluster) power(verb, node string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if verb == "stop" {
		return node + " is stopped", c.StopNode(ctx, node)
	}
	return node + " is running", c.StartNode(ctx, node)
}

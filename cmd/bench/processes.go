package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one run: its processes and results.
type bench struct {
	settings
	dir     string
	running []*exec.Cmd
	rows    []row
	missed  bool
}

// start starts a process of which only its end is of interest; what it says
// goes to a file.
func (b *bench) start(name string, program string, args ...string) (*exec.Cmd, error) {
	out, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	b.running = append(b.running, cmd)
	return cmd, nil
}

// stopAll ends what start started, by process, newest first.
func (b *bench) stopAll() {
	for i := len(b.running) - 1; i >= 0; i-- {
		cmd := b.running[i]
		cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		kill.Stop()
	}
	b.running = nil
}

// agent starts an agent on an address of its own.
func (b *bench) agent(name, ip string, more ...string) (*exec.Cmd, error) {
	args := append([]string{"agent", "-node=" + name, "-bind=" + ip, "-client=" + ip, "-data-dir=" + filepath.Join(b.dir, name),
		"-hcl=performance { raft_multiplier = 1 } limits { http_max_conns_per_client = 5000 }"}, more...)
	return b.start(name, b.legate, args...)
}

// serverIPs are the addresses of the servers of a datacenter.
func serverIPs() []string { return []string{"127.251.1.1", "127.251.1.2", "127.251.1.3"} }

// datacenter starts three servers and a client and returns the addresses of
// leader, a follower and the client.
func (b *bench) datacenter(ctx context.Context) (leader, follower, client string, err error) {
	ips := serverIPs()
	for i, ip := range ips {
		if _, err := b.agent("server"+strconv.Itoa(i+1), ip, "-server", "-bootstrap-expect=3", "-retry-join="+ips[0], "-retry-interval=1s"); err != nil {
			return "", "", "", err
		}
	}
	client = "127.251.1.4"
	if _, err := b.agent("client1", client, "-retry-join="+ips[0], "-retry-interval=1s"); err != nil {
		return "", "", "", err
	}
	err = wait(ctx, 30*time.Second, func() error {
		text, err := get("http://" + client + ":8500/v1/status/leader")
		if err != nil {
			return err
		}
		leader, _, _ = net.SplitHostPort(strings.Trim(strings.TrimSpace(text), `"`))
		if leader == "" {
			return errors.New("no leader yet")
		}
		return nil
	})
	for _, ip := range ips {
		if ip != leader {
			follower = ip
		}
	}
	return leader, follower, client, err
}

// wait tries until it succeeds.
func wait(ctx context.Context, within time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", within, err)
		case <-t.C:
		}
	}
}

func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", url, resp.Status, b)
	}
	return string(b), err
}

func put(url, body string) error {
	_, err := ask(http.MethodPut, url, body)
	return err
}

func ask(method, url, body string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", url, resp.Status, b)
	}
	return string(b), err
}

// resident is the resident size of a process in MiB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no resident size")
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// What is measured of access control.
const (
	management   = "bench-management" // the first token
	manyTokens   = 100_000
	policiesEach = 10 // of the token that reads a key
	rulesEach    = 20 // of a policy
)

// access measures what access control costs: two servers alike, but that one has it.
func (b *bench) access(ctx context.Context) error {
	const open, closed = "127.251.3.1:8500", "127.251.3.2:8500"
	if _, err := b.agent("open", "127.251.3.1", "-server", "-bootstrap-expect=1"); err != nil {
		return err
	}
	server, err := b.agent("closed", "127.251.3.2", "-server", "-bootstrap-expect=1",
		`-hcl=acl { enabled = true default_policy = "deny" tokens { initial_management = "`+management+`" agent = "`+management+`" } }`)
	if err != nil {
		return err
	}
	for _, addr := range []string{open, closed} {
		to := b.admin(addr)
		if err := wait(ctx, 20*time.Second, func() error { return to.put(key, strings.Repeat("A", valueSize)) }); err != nil {
			return err
		}
		for i := range largeService {
			body := strings.ReplaceAll(string(registration(i*catalogServices)), "svc-0", "large")
			body = strings.Replace(body, `"Node":"node-`, `"Node":"`+[]string{"even-", "odd-"}[i%2], 1)
			if err := to.put("/v1/catalog/register", body); err != nil {
				return err
			}
		}
	}
	keys, all, half, err := b.admin(closed).tokens()
	if err != nil {
		return err
	}
	const find = "/v1/health/service/large?passing"
	for _, l := range []struct {
		name, path, token string
		bar               float64
	}{
		{"KV GET with a token of ten policies, of one without access control", key, keys, 0.9},
		{"200 instances with a token that may see all, of without", find, all, 0.9},
		{"200 instances with a token that may see half, of without", find, half, 0.6},
	} {
		reference := func(int) (one, error) { return dialHTTP(open, "GET", l.path, nil) }
		out, ratio, err := compare(ctx, b.conns, b.seconds, reference, func(int) (one, error) { return dialToken(closed, l.path, l.token) })
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		b.add(row{what: l.name, conns: b.conns, out: out, ratio: ratio, bar: l.bar})
	}
	if err := b.names(ctx, b.admin(closed)); err != nil {
		return err
	}
	return b.coldTokens(ctx, b.admin(closed), server.Process.Pid)
}

// names compares answers of DNS, which are made with the token that the agent has for
// them, with those of the server that has no access control.
func (b *bench) names(ctx context.Context, closed admin) error {
	secret := uuid.NewString()
	if err := closed.token(secret, []string{"all"}); err != nil {
		return err
	}
	if err := closed.object("/v1/agent/token/dns", map[string]string{"Token": secret}); err != nil {
		return err
	}
	questions, err := questionsOf(dns.TypeA, "large.service.consul.")
	if err != nil {
		return err
	}
	addrs := []string{"127.251.3.1:8600", "127.251.3.2:8600"}
	var sum [2]outcome
	for range rounds {
		for i, addr := range addrs {
			if err := wait(ctx, 10*time.Second, func() error { return answered(ctx, addr, questions) }); err != nil {
				return err
			}
			out, err := floodOf(ctx, addr, questions, b.seconds/rounds)
			if err != nil {
				return fmt.Errorf("%s: %w", addr, err)
			}
			sum[i].rate, sum[i].p50, sum[i].p99 = sum[i].rate+out.rate/rounds, sum[i].p50+out.p50/rounds, sum[i].p99+out.p99/rounds
		}
	}
	b.add(row{what: "DNS A with access control, of without", conns: floodSockets * floodWindow, out: sum[1], ratio: sum[1].rate / sum[0].rate, bar: 0.9})
	return nil
}

// tokens makes the tokens that are compared: one of ten policies that reads the key, one
// that may find all instances and one that may find half of them.
func (a admin) tokens() (keys, all, half string, err error) {
	var names []string
	for i := range policiesEach {
		var rules strings.Builder
		for j := range rulesEach {
			fmt.Fprintf(&rules, "key_prefix \"app-%d/%d/\" { policy = \"write\" }\n", i, j)
		}
		if i == policiesEach-1 {
			rules.WriteString(`key_prefix "bench/" { policy = "read" }`)
		}
		names = append(names, fmt.Sprintf("keys-%d", i))
		if err := a.policy(names[i], rules.String()); err != nil {
			return "", "", "", err
		}
	}
	err = errors.Join(a.policy("all", `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`),
		a.policy("half", `service_prefix "" { policy = "read" } node_prefix "even-" { policy = "read" }`))
	if err != nil {
		return "", "", "", err
	}
	for _, t := range []struct {
		secret   *string
		policies []string
	}{{&keys, names}, {&all, []string{"all"}}, {&half, []string{"half"}}} {
		*t.secret = uuid.NewString()
		if err := a.token(*t.secret, t.policies); err != nil {
			return "", "", "", err
		}
	}
	return keys, all, half, nil
}

// coldTokens shows more tokens than a server keeps, each the first time.
func (b *bench) coldTokens(ctx context.Context, to admin, pid int) error {
	secrets := make(chan string, manyTokens)
	var g errgroup.Group
	for i := range b.conns {
		g.Go(func() error {
			for j := i; j < manyTokens; j += b.conns {
				secret := uuid.NewString()
				if err := to.token(secret, []string{fmt.Sprintf("keys-%d", j%policiesEach), fmt.Sprintf("keys-%d", policiesEach-1)}); err != nil {
					return err
				}
				secrets <- secret
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	out, err := load(ctx, 1, b.seconds, func(int) (one, error) {
		c, err := dialToken(to.addr, key, "")
		if err != nil {
			return nil, err
		}
		return &showing{httpConn: c.(*httpConn), addr: to.addr, secrets: secrets}, nil
	})
	if err != nil {
		return fmt.Errorf("cold tokens: %w", err)
	}
	b.add(row{what: "KV GET, each with another of 100,000 tokens", conns: 1, out: out, limit: time.Millisecond})
	mib, err := resident(pid)
	if err != nil {
		return err
	}
	b.add(row{what: "Resident size of a server with 100,000 tokens", mib: mib, most: 250})
	return nil
}

// showing shows another token each time.
type showing struct {
	*httpConn
	addr    string
	secrets chan string
}

func (s *showing) ask(ctx context.Context) error {
	secret := <-s.secrets
	s.secrets <- secret // behind all others
	s.request = fmt.Appendf(s.request[:0], "GET %s HTTP/1.1\r\nHost: %s\r\nX-Consul-Token: %s\r\n\r\n", key, s.addr, secret)
	return s.httpConn.ask(ctx)
}

func dialToken(addr, path, secret string) (one, error) {
	c, err := dialHTTP(addr, "GET", path, nil)
	if err != nil {
		return nil, err
	}
	h := c.(*httpConn)
	h.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Consul-Token: %s\r\n\r\n", path, addr, secret)
	return h, nil
}

// admin is one who may do everything on a server, over connections that it keeps.
type admin struct {
	client *http.Client
	addr   string
}

func (b *bench) admin(addr string) admin {
	return admin{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: b.conns}}, addr}
}

func (a admin) policy(name, rules string) error {
	return a.object("/v1/acl/policy", map[string]any{"Name": name, "Rules": rules})
}

func (a admin) token(secret string, policies []string) error {
	var links []map[string]string
	for _, p := range policies {
		links = append(links, map[string]string{"Name": p})
	}
	return a.object("/v1/acl/token", map[string]any{"SecretID": secret, "Policies": links})
}

func (a admin) object(path string, object any) error {
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return a.put(path, string(b))
}

func (a admin) put(path, body string) error {
	req, err := http.NewRequest(http.MethodPut, "http://"+a.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Consul-Token", management)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || bytes.Equal(b, []byte("false"))) {
		err = fmt.Errorf("%s: %s %s", path, resp.Status, b)
	}
	return err
}

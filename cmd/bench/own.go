package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ownServices are registered in each round, as a scheduler does that starts.
const ownServices = 1000

// own measures registering the services of one client agent, until the
// catalog has the last of them.
func (b *bench) own(ctx context.Context) error {
	leader, _, client, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	addr := client + ":8500"
	if err := wait(ctx, 20*time.Second, func() error { return put("http://"+addr+key, "value") }); err != nil {
		return err
	}
	var sum outcome
	for round := range rounds {
		out, err := b.registerOwn(ctx, addr, leader, round)
		if err != nil {
			return err
		}
		sum.rate += out.rate / rounds
		sum.p50 += out.p50 / rounds
		sum.p99 += out.p99 / rounds
	}
	b.add(row{what: fmt.Sprintf("Registration of %d services with a client agent, until the catalog has all", ownServices), conns: b.conns, out: sum})
	return nil
}

func (b *bench) registerOwn(ctx context.Context, addr, leader string, round int) (outcome, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([]time.Duration, ownServices)
	failed := make(chan error, b.conns)
	began := time.Now()
	for range b.conns {
		wg.Go(func() {
			c, err := dialHTTP(addr, "PUT", "/", nil)
			if err != nil {
				failed <- err
				return
			}
			defer c.close()
			conn := c.(*httpConn)
			for i := next.Add(1) - 1; i < ownServices; i = next.Add(1) - 1 {
				body := fmt.Sprintf(`{"ID":"own%d-%d","Name":"own%d","Port":%d,"Check":{"TTL":"1h","Status":"passing"}}`, round, i, round, 8000+i)
				conn.request = fmt.Appendf(conn.request[:0], "PUT /v1/agent/service/register HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", addr, len(body), body)
				asked := time.Now()
				if err := conn.ask(ctx); err != nil {
					failed <- err
					return
				}
				took[i] = time.Since(asked)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return outcome{}, fmt.Errorf("register a service: %w", err)
	default:
	}
	err := wait(ctx, 30*time.Second, func() error {
		text, err := get(fmt.Sprintf("http://%s:8500/v1/health/service/own%d?passing", leader, round))
		if err != nil {
			return err
		}
		var there []json.RawMessage
		if err := json.Unmarshal([]byte(text), &there); err != nil {
			return err
		}
		if len(there) < ownServices {
			return fmt.Errorf("%d of %d services are in the catalog", len(there), ownServices)
		}
		return nil
	})
	all := time.Since(began)
	slices.Sort(took)
	return outcome{rate: ownServices / all.Seconds(), p50: took[ownServices/2], p99: took[ownServices*99/100]}, err
}

package testcluster_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// Whatever the shape, every agent reads and writes in every datacenter, names resolve, and the
// overview shows the paths.
func TestShapesOfFederations(t *testing.T) {
	t.Parallel()
	for shape, want := range map[testcluster.Shape][]string{
		testcluster.Star:     {"- direct direct", "direct - dc1", "direct dc1 -"},
		testcluster.Partial:  {"- direct direct", "direct - dc1", "direct dc1 -"},
		testcluster.NAT:      {"- direct gateways", "direct - gateways", "direct direct -"},
		testcluster.Gateways: {"- gateways gateways", "gateways - gateways", "gateways gateways -"},
	} {
		t.Run(string(shape), func(t *testing.T) {
			spec := testcluster.Spec{Datacenters: 3, Servers: 1, Clients: 1, RTT: 10 * time.Millisecond, Shape: shape, Key: make([]byte, 32)}
			c := start(t, spec)
			for i, from := range c.Nodes() {
				for _, dc := range c.Datacenters() {
					eventually(t, from.Name+" writes to "+dc, 20*time.Second, func(ctx context.Context) error {
						res, _, err := kv.Apply.Call(ctx, from.Agent().Caller(), op.Header{Datacenter: dc}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k", Value: []byte{byte(i)}}})
						if err == nil && !res.OK {
							err = fmt.Errorf("refused")
						}
						return err
					})
				}
			}
			eventually(t, "the paths are shown", 20*time.Second, func(context.Context) error {
				var got []string
				for _, r := range c.Overview() {
					line := ""
					for _, d := range r.To {
						how := "direct"
						switch {
						case d.Self:
							how = "-"
						case d.Through != nil:
							how = fmt.Sprint(d.Through)[1 : len(fmt.Sprint(d.Through))-1]
						case d.Gateways:
							how = "gateways"
						case !d.Known:
							how = "?"
						}
						line += " " + how
					}
					got = append(got, line[1:])
				}
				if !slices.Equal(got, want) {
					return fmt.Errorf("%q, want %q", got, want)
				}
				return nil
			})
		})
	}
}

func TestShapesThatAreNone(t *testing.T) {
	t.Parallel()
	for shape, datacenters := range map[testcluster.Shape]int{"ring": 3, testcluster.Star: 2, testcluster.NAT: 1} {
		s := testcluster.Spec{Datacenters: datacenters, Servers: 1, Shape: shape}
		if err := s.Validate(); err == nil {
			t.Errorf("%s of %d is valid", shape, datacenters)
		}
	}
}

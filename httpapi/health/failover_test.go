package health

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// One row is a question with the datacenters that it is put to, where web fails over.
func TestQuestionsForPassingInstancesFailOver(t *testing.T) {
	const order = "dc1>dc2>nearest"
	for _, c := range []struct {
		target   string
		filtered bool
		err      error
		want     []string
	}{
		{"/v1/health/service/web?passing", false, nil, []string{order}},
		{"/v1/health/service/Web?passing&wait=1s&index=7", false, nil, []string{order}},
		{"/v1/health/service/web", false, nil, []string{""}},
		{"/v1/health/service/db?passing", false, nil, []string{""}},
		{"/v1/health/service/web?passing&dc=dc1", false, nil, []string{"dc1"}},
		{"/v1/health/service/web?passing&dc=dc3", false, nil, []string{"dc3"}},
		{"/v1/health/service/web?passing", true, nil, []string{order, ""}}, // the token means less elsewhere
		{"/v1/health/service/web?passing", false, op.Errorf(op.CodeUnknownDatacenter, "No path to datacenter"), []string{order, ""}},
	} {
		var asked []string
		caller := op.CallerFunc(func(_ context.Context, call *op.Call) (*op.Reply, error) {
			asked = append(asked, call.Header.Datacenter)
			m := op.Meta{Index: 8}
			if call.Header.Datacenter == order {
				if c.err != nil {
					return nil, c.err
				}
				m.Filtered = c.filtered
			}
			return op.NewReply(m, &catalog.Instances{}), nil
		})
		s := resttest.Serve(t, (&API{Caller: caller, Failover: func(service string) (string, context.Context) {
			return map[string]string{"web": order}[service], t.Context()
		}}).Routes())
		if rec := s.Do("GET", c.target, ""); rec.Code != 200 || !slices.Equal(asked, c.want) {
			t.Errorf("%s: %d, asked of %q, want %q", c.target, rec.Code, asked, c.want)
		}
	}
}

// Who waits when the rules change is answered as the new ones say.
func TestWhoWaitsIsAnsweredByNewRules(t *testing.T) {
	before, change := context.WithCancel(t.Context())
	defer change()
	order := "dc1>dc2"
	var asked []string
	caller := op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		asked = append(asked, fmt.Sprint(call.Header.Datacenter, " ", call.Header.MinIndex))
		if len(asked) > 1 {
			return op.NewReply(op.Meta{Index: 8}, &catalog.Instances{}), nil
		}
		order = ""
		change()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s := resttest.Serve(t, (&API{Caller: caller, Failover: func(string) (string, context.Context) {
		if order == "" {
			return "", t.Context()
		}
		return order, before
	}}).Routes())
	rec := s.Do("GET", fmt.Sprintf("/v1/health/service/web?passing&index=%d", uint64(op.OpaqueFrom)+7), "")
	if want := []string{fmt.Sprint("dc1>dc2 ", uint64(op.OpaqueFrom)+7), " 0"}; rec.Code != 200 || !slices.Equal(asked, want) {
		t.Errorf("%d %s, asked %q, want %q", rec.Code, rec.Body, asked, want)
	}
}

// A token that may see nothing of the first that stands in is answered by the next one.
func TestWhoSeesNothingOfOneIsAnsweredByTheNext(t *testing.T) {
	for _, c := range []struct {
		order string
		hides []string
		want  string // who answers
		asked []string
	}{
		{"dc1>dc2>dc3", []string{"dc2"}, "dc3", []string{"dc1>dc2>dc3", "dc1>dc3"}},
		{"dc1>dc2>nearest", []string{"dc2"}, "dc3", []string{"dc1>dc2>nearest", "dc1>!dc2>nearest"}},
		{"dc1>nearest", []string{"dc2", "dc3"}, "", []string{"dc1>nearest", "dc1>!dc2>nearest", "dc1>!dc2>!dc3>nearest"}},
		{"dc1>dc2", []string{"dc2"}, "", []string{"dc1>dc2", "dc1"}},
	} {
		var asked []string
		caller := op.CallerFunc(func(_ context.Context, call *op.Call) (*op.Reply, error) {
			asked = append(asked, call.Header.Datacenter)
			m, list := op.Meta{Index: 8, Datacenter: "dc1"}, catalog.Instances{}
			if !op.IsFanOut(call.Header.Datacenter) {
				return op.NewReply(m, &list), nil
			}
			reach, err := op.ParseReach(call.Header.Datacenter)
			if err != nil {
				return nil, err
			}
			for _, dc := range []string{"dc2", "dc3"} {
				if slices.Contains(reach.LeftOut, dc) || !reach.Others && !slices.Contains(reach.Listed, dc) {
					continue
				}
				m.Datacenter, m.Filtered = dc, slices.Contains(c.hides, dc)
				if !m.Filtered {
					list = append(list, catalog.Instance{Node: &catalog.Node{Datacenter: dc}, Service: &catalog.Service{}})
				}
				break
			}
			return op.NewReply(m, &list), nil
		})
		list, _, err := (&API{Caller: caller}).inOrder(t.Context(), c.order, op.Header{}, &catalog.ServiceRequest{Service: "web", PassingOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(*list) > 0 {
			got = (*list)[0].Node.Datacenter
		}
		if got != c.want || !slices.Equal(asked[:len(c.asked)], c.asked) {
			t.Errorf("%s without %v: %q answers, asked %q", c.order, c.hides, got, asked)
		}
	}
}

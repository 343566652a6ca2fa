package server

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
)

// except may read all keys but those with a prefix.
type except string

func (e except) Allow(_ rules.Resource, _ rules.Access, name string) bool {
	return !strings.HasPrefix(name, string(e))
}
func (e except) Who() string { return "somebody" }

// listed is all that comes, and how many parts it took.
func listed(t *testing.T, l *op.Listing[kv.Entries]) (all kv.Entries, parts int) {
	t.Helper()
	for part, err := range l.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *part...)
		parts++
	}
	return all, parts
}

// unpinned waits until no long result holds a view.
func unpinned(t *testing.T, h *harness) {
	t.Helper()
	eventually(t, "no view is held", func() bool { return h.listings.n.Load() == 0 })
}

func beginListing(t *testing.T, h *harness, header op.Header, prefix string) *op.Listing[kv.Entries] {
	t.Helper()
	l, err := kv.List.InParts(t.Context(), h, header, &kv.ListRequest{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLongListingIsOfOneMoment(t *testing.T) {
	h := filled(t, nil)
	want, meta, err := kv.List.Call(t.Context(), h, op.Header{}, &kv.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.cfg.State, "k", "") // the newest, and not the last
	l := beginListing(t, h, op.Header{}, "")
	if _, whole := l.Whole(); whole || l.Meta.Index != meta.Index+1 {
		t.Fatalf("index %d, want %d; whole: %v", l.Meta.Index, meta.Index+1, whole)
	}
	write(t, h.cfg.State, "k9", "changed")
	write(t, h.cfg.State, "k99", "new")
	got, parts := listed(t, l)
	if len(got) != len(*want)+1 || got[0].Key != "k" || parts < 5 {
		t.Fatalf("%d entries in %d parts, want %d", len(got), parts, len(*want)+1)
	}
	for i, e := range *want {
		if got[i+1].Key != e.Key || string(got[i+1].Value) != string(e.Value) {
			t.Errorf("entry %s, want %s", got[i+1].Key, e.Key)
		}
	}
	unpinned(t, h)
	if l := beginListing(t, h, op.Header{}, "k1"); l.Meta.Index == 0 {
		t.Error("no index")
	} else if list, whole := l.Whole(); !whole || len(*list) != 11 {
		t.Errorf("a short list does not come whole")
	}
}

func TestLongListingShowsWhatTheCallerMaySee(t *testing.T) {
	h := filled(t, func(c *Config) {
		c.Authorizer = func(token string) (rules.Authorizer, error) { return except(token), nil }
	})
	l := beginListing(t, h, op.Header{Token: "k1"}, "")
	if got, _ := listed(t, l); len(got) != 29 || !l.Meta.Filtered {
		t.Errorf("%d entries of 29 that may be read, filtered %v", len(got), l.Meta.Filtered)
	}
	l = beginListing(t, h, op.Header{Token: "k"}, "")
	if list, whole := l.Whole(); !whole || list != nil || !l.Meta.Filtered {
		t.Errorf("nothing may be read: whole %v, %v, filtered %v", whole, list, l.Meta.Filtered)
	}
	unpinned(t, h)
}

func TestLongListingThatNobodyReadsEnds(t *testing.T) {
	h := filled(t, nil)
	h.stall = 20 * time.Millisecond
	l := beginListing(t, h, op.Header{}, "")
	unpinned(t, h)
	for _, err := range l.All() {
		if op.CodeOf(err) != op.CodeTimeout {
			t.Errorf("after it was dropped: %v", err)
		}
	}
	h.stall = time.Minute
	l = beginListing(t, h, op.Header{}, "")
	l.Close()
	unpinned(t, h)
	for _, err := range l.All() {
		if err == nil {
			t.Error("a listing that was closed goes on")
		}
	}
}

func TestLongListingsAreBounded(t *testing.T) {
	h := filled(t, nil)
	for range maxListings {
		beginListing(t, h, op.Header{}, "")
	}
	if _, err := kv.List.InParts(t.Context(), h, op.Header{}, &kv.ListRequest{}); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("one more: %v", err)
	}
}

func TestLongResultIsNoMessage(t *testing.T) {
	h := filled(t, nil)
	call := op.NewCall(&kv.List, op.Header{}, &kv.ListRequest{})
	call.Take = op.TakeShort
	if _, err := h.Do(t.Context(), call); op.CodeOf(err) != op.CodeLong {
		t.Errorf("%v", err)
	}
}

func TestWaitForLongListing(t *testing.T) {
	h := filled(t, nil)
	h.LeadershipChanged(true)
	l := beginListing(t, h, op.Header{}, "")
	l.Close()
	done := make(chan error, 1)
	go func() {
		l, err := kv.List.InParts(t.Context(), h, op.Header{MinIndex: l.Meta.Index, MaxWait: time.Minute}, &kv.ListRequest{})
		if err == nil {
			defer l.Close()
			n := 0
			for part, e := range l.All() {
				if err = e; e == nil {
					n += len(*part)
				}
			}
			if n != 41 {
				err = fmt.Errorf("%d entries (%w)", n, err)
			}
		}
		done <- err
	}()
	eventually(t, "the read waits", func() bool { return h.blocked.n.Load() == 1 })
	write(t, h.cfg.State, "k/new", "x")
	if err := <-done; err != nil {
		t.Error(err)
	}
	again := op.NewCall(&kv.List, op.Header{}, &kv.ListRequest{})
	again.Take = op.TakeParts
	reply, err := h.Do(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	reply.Parts().Close()
	if _, err := reply.Parts().Next(); err == nil || err == io.EOF {
		t.Errorf("a result that was given up ends with %v", err)
	}
}

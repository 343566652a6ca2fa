package listing

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
)

// except may read all keys but those with a prefix.
type except string

func (e except) Allow(_ rules.Resource, _ rules.Access, name string) bool {
	return !strings.HasPrefix(name, string(e))
}
func (e except) Who() string { return "somebody" }

// harness reads keys as a server does. A token is a prefix that its bearer may
// not read.
type harness struct{ *Lister }

// filled has 40 keys of 50,000 bytes: more than what is one message.
func filled(t *testing.T) harness {
	t.Helper()
	h := harness{New(servertest.OpenState(t), t.Context())}
	servertest.Fill(t, h.state)
	return h
}

// Do implements op.Caller.
func (h harness) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	var a rules.Authorizer = rules.AllowAll()
	if call.Header.Token != "" {
		a = except(call.Header.Token)
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	o, _ := call.Operation.(op.Partial)
	v := h.state.View()
	defer v.Close()
	if call.Take == op.TakeWhole {
		result, err := o.Run(v, request)
		return op.NewReply(op.Meta{Index: v.Index()}, result), err
	}
	result, err := Short(o, false).Run(v, request)
	if err != nil || !IsLong(result) {
		return op.NewReply(op.Meta{Index: v.Index()}, result), err
	}
	return h.Begin(ctx, a, call, o, op.Meta{})
}

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
func unpinned(t *testing.T, h harness) {
	t.Helper()
	servertest.Eventually(t, "no view is held", func() bool { return h.limit.InUse() == 0 })
}

func beginListing(t *testing.T, h harness, header op.Header, prefix string) *op.Listing[kv.Entries] {
	t.Helper()
	l, err := kv.List.InParts(t.Context(), h, header, &kv.ListRequest{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// It is, whether parts are kept from when it was gone through, or some, or none.
func TestLongListingIsOfOneMoment(t *testing.T) {
	for _, room := range []int64{maxKept, 800_000, 0} {
		h := filled(t)
		h.room = room
		isOfOneMoment(t, h)
		if n := h.kept.Load(); n != 0 {
			t.Errorf("%d bytes are kept though nothing is listed", n)
		}
	}
}

func isOfOneMoment(t *testing.T, h harness) {
	want, meta, err := kv.List.Call(t.Context(), h, op.Header{}, &kv.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	servertest.Write(t, h.state, "k", "") // the newest, and not the last
	l := beginListing(t, h, op.Header{}, "")
	if _, whole := l.Whole(); whole || l.Meta.Index != meta.Index+1 {
		t.Fatalf("index %d, want %d; whole: %v", l.Meta.Index, meta.Index+1, whole)
	}
	servertest.Write(t, h.state, "k9", "changed")
	servertest.Write(t, h.state, "k99", "new")
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
	h := filled(t)
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
	h := filled(t)
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
	h := filled(t)
	for range maxListings {
		beginListing(t, h, op.Header{}, "")
	}
	if _, err := kv.List.InParts(t.Context(), h, op.Header{}, &kv.ListRequest{}); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("one more: %v", err)
	}
}

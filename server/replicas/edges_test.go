package replicas

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
)

// Values of any length that a key can have are copied, first and as changes.
func TestLongValuesAreCopied(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{replication.Mirror, replication.Newest} {
		t.Run(mode, func(t *testing.T) {
			sites := found(t, "dc1", "dc2")
			dc1, dc2 := sites["dc1"], sites["dc2"]
			for i, n := range []int{1<<16 + 1, 256 << 10, 512 << 10, 4 << 20} {
				dc1.put(t, fmt.Sprintf("config/%d", i), strings.Repeat("v", n))
			}
			dc2.followIn(t, mode, "dc1", "config/", "config/")
			same(t, dc1, "config/", dc2, "config/")
			dc1.put(t, "config/1", strings.Repeat("w", 512<<10))
			dc1.put(t, "config/new", strings.Repeat("w", 512<<10))
			same(t, dc1, "config/", dc2, "config/")
		})
	}
}

// A datacenter that could not be reached for longer than the time between two comparisons
// has all the time that the first copy takes.
func TestAFirstCopyThatBeginsLate(t *testing.T) {
	t.Parallel()
	dc2 := found(t, "dc2")["dc2"]
	dc2.follow(t, "dc1", "config/", "config/")
	f := newFollower(dc2.Replicas, dc2.status(t).Rule)
	f.dueAt = time.Now().Add(-time.Second) // as if the cut had lasted so long
	if _, err := f.plan(t.Context()); err != nil || f.dueAt.Before(time.Now().Add(dc2.cfg.CompareEvery/2-time.Minute)) {
		t.Errorf("it is compared at %v, %v", f.dueAt, err)
	}
}

// What a session deletes when it ends is not deleted from a mirror.
func TestTheEndOfASessionDeletesNothingInAMirror(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.put(t, "config/lock", "v")
	dc2.apply(t, &catalog.Register, &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1"})
	dc2.apply(t, &session.Create, &session.CreateRequest{Session: session.Session{ID: "s1", Node: "n1", Behavior: session.Delete}})
	dc2.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: kv.Lock, Entry: kv.Entry{Key: "config/lock", Value: []byte("v"), Flags: 1, Session: "s1"}})
	dc2.follow(t, "dc1", "config/", "config/") // what is there already is not sent
	same(t, dc1, "config/", dc2, "config/")
	servertest.Eventually(t, "it follows", func() bool { return dc2.status(t).State == replication.StateFollowing })
	dc2.apply(t, &session.Destroy, &session.DestroyRequest{ID: "s1"})
	if len(dc2.has("config/")) != 1 {
		t.Error("the key is gone")
	}
}

// A leader whose state is replaced while it leads copies what is missing there.
func TestAMirrorIsRestoredWhileItIsFollowed(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{replication.Mirror, replication.Newest} {
		t.Run(mode, func(t *testing.T) {
			sites := found(t, "dc1", "dc2")
			dc1, dc2 := sites["dc1"], sites["dc2"]
			dc1.put(t, "config/a", "1")
			dc2.followIn(t, mode, "dc1", "config/", "config/")
			same(t, dc1, "config/", dc2, "config/")
			rows, n := dc2.archive(t)
			dc1.put(t, "config/b", "2")
			same(t, dc1, "config/", dc2, "config/")
			dc2.restore(t, rows, n, "r1")
			same(t, dc1, "config/", dc2, "config/")
		})
	}
}

// A deletion that is remembered of a key that is there again says nothing.
func TestAKeyThatIsThereHasNoDeletion(t *testing.T) {
	t.Parallel()
	dc1, dc2 := both(t)
	dc1.at(t, 10, kv.Set, "n/a", "1")
	dc1.at(t, 100, kv.Delete, "n/a", "")
	servertest.Eventually(t, "dc2 knows of the deletion", func() bool { return dc2.deletedAt(t, "n/a", 100) })
	dc1.apply(t, &replication.Change, &replication.ChangeRequest{Target: "n/", Change: replication.Remove})
	dc1.at(t, 50, kv.Set, "n/a", "2") // nobody asks what was deleted here
	v := dc1.cfg.State.View()
	defer v.Close()
	n := 0
	for m, err := range kv.Marks(v, "n/", "", true) {
		if n++; err != nil || m.Entry == nil {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if n != 1 {
		t.Errorf("%d marks of a key", n)
	}
}

// noting notes what is asked of a source.
type noting struct {
	op.Subscriber
	asked []replication.FollowRequest
}

func (n *noting) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	request, err := call.Request()
	if err != nil {
		return err
	}
	n.asked = append(n.asked, *request.(*replication.FollowRequest))
	return n.Subscriber.Subscribe(ctx, call, push)
}

// Whoever answers for checksums must be as far as who answered first: what changed until
// then is not told of later.
func TestAllChecksumsAreAsOfOneIndexAtLeast(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	for i := range 9000 { // more than eight in a piece
		dc1.put(t, fmt.Sprintf("config/%04d", i), "v")
		dc2.put(t, fmt.Sprintf("config/%04d", i), "another")
	}
	dc2.ends()
	source := &noting{Subscriber: dc2}
	dc2.links.Follow = source
	f := newFollower(dc2.Replicas, replication.Rule{Datacenter: "dc1", Prefix: "config/", Target: "config/", Mode: replication.Mirror})
	_, index, err := f.differing(t.Context())
	if err != nil || index == 0 || len(source.asked) < 2 {
		t.Fatalf("index %d after %d questions, %v", index, len(source.asked), err)
	}
	for _, r := range source.asked[1:] {
		if r.Index != index {
			t.Errorf("asked as of index %d, want %d", r.Index, index)
		}
	}
}

// Two datacenters change places: what was copied belongs to the one that has it, once its
// rule has gone.
func TestTheOtherWayRound(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{replication.Mirror, replication.Newest} {
		t.Run(mode, func(t *testing.T) {
			sites := found(t, "dc1", "dc2")
			dc1, dc2 := sites["dc1"], sites["dc2"]
			dc1.put(t, "config/a", "1")
			dc1.put(t, "config/b", "2")
			dc2.followIn(t, mode, "dc1", "config/", "config/")
			same(t, dc1, "config/", dc2, "config/")
			dc2.apply(t, &replication.Change, &replication.ChangeRequest{Target: "config/", Change: replication.Remove})
			dc2.put(t, "config/a", "3")
			dc1.follow(t, "dc2", "config/", "config/")
			same(t, dc2, "config/", dc1, "config/")
			servertest.Eventually(t, "it follows", func() bool { return dc1.status(t).State == replication.StateFollowing })
			if got := dc1.has("config/"); got["b"] != "1 2" || len(got) != 2 {
				t.Errorf("there is %v", got)
			}
		})
	}
}

// Mirrors of each other would delete each other's keys: the second one is refused, and
// copies nothing if it is there all the same.
func TestMirrorsOfEachOther(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.put(t, "config/a", "1")
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	for _, mode := range []string{replication.Mirror, replication.Newest} {
		_, err := dc1.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc2", Prefix: "config/", Target: "config/", Mode: mode, Force: true})
		if op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), `are copied there from "config/" in datacenter dc1 (mirror): remove that rule first`) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	if _, err := dc1.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc2", Prefix: "config/", Target: "copy/", Mode: replication.Mirror}); err != nil {
		t.Errorf("to another prefix: %v", err)
	}
	dc1.follow(t, "dc2", "con", "con")
	servertest.Eventually(t, "it fails", func() bool { return strings.Contains(dc1.statuses(t)[0].Error, "remove that rule first") })
	if len(dc1.has("config/")) != 1 || len(dc2.has("config/")) != 1 {
		t.Error("keys are gone")
	}
}

// A server that is behind is no source; one that leads and is behind has lost data.
func TestWhoIsASource(t *testing.T) {
	dc1 := found(t, "dc1")["dc1"]
	dc1.put(t, "a", "1")
	ask := func(r replication.FollowRequest) (told replication.Told, err error) {
		err = dc1.Serve(t.Context(), op.NewCall(&replication.Follow, op.Header{}, &r), func() (<-chan struct{}, error) { return nil, nil }, func(r *op.Reply) error {
			res, _ := r.Result(&replication.Follow)
			told = *res.(*replication.Told)
			return errEnough
		})
		return told, err
	}
	if _, err := ask(replication.FollowRequest{Index: dc1.cfg.State.Index()}); !errors.Is(err, errEnough) {
		t.Error(err)
	}
	if told, _ := ask(replication.FollowRequest{Index: dc1.cfg.State.Index() + 1}); !told.Forgotten {
		t.Errorf("a leader that has less says %+v", told)
	}
	dc1.cfg.Leads = func() bool { return false }
	if _, err := ask(replication.FollowRequest{Index: dc1.cfg.State.Index() + 1}); op.CodeOf(err) != op.CodeNoLeader {
		t.Errorf("another server that has less says %v", err)
	}
}

func TestRulesThatCannotBe(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc2 := sites["dc2"]
	dc2.follow(t, "dc1", "a/", "a/")
	dc2.put(t, "b/1", "v")
	for _, tc := range []struct {
		req  replication.CreateRequest
		code op.Code
		text string
	}{
		{replication.CreateRequest{Datacenter: "dc2", Target: "c/"}, op.CodeInvalid, "datacenter dc2 cannot copy keys from itself"},
		{replication.CreateRequest{Target: "c/"}, op.CodeInvalid, "needs the datacenter"},
		{replication.CreateRequest{Datacenter: "dc1", Target: "c/", Mode: "both"}, op.CodeInvalid, `mode "both"`},
		{replication.CreateRequest{Datacenter: "dc1", Target: "a/x/"}, op.CodeConflict, `"a/x/" overlaps with "a/"`},
		{replication.CreateRequest{Datacenter: "dc1", Target: ""}, op.CodeConflict, `"" overlaps with "a/"`},
		{replication.CreateRequest{Datacenter: "dc1", Target: "b/"}, op.CodeConflict, `below "b/" is something (1 key)`},
		{replication.CreateRequest{Datacenter: "dc9", Target: "c/"}, op.CodeUnreachableDatacenter, "No path to datacenter"},
	} {
		if _, err := dc2.create(t.Context(), op.Header{}, &tc.req); op.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%+v: %v", tc.req, err)
		}
	}
	if _, err := dc2.create(t.Context(), op.Header{}, &replication.CreateRequest{Datacenter: "dc1", Target: "b/", Force: true}); err != nil {
		t.Error(err)
	}
	servertest.Eventually(t, "the mirror is empty", func() bool { return len(dc2.has("b/")) == 0 })
}

var errEnough = errors.New("enough")

package op

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/legate-project/legate/state/acl/rules"
)

func testRead() *Read[Text, Texts] {
	return &Read[Text, Texts]{Name: "test.read", Authorize: func(rules.Authorizer, *Text) error { return nil }}
}

func TestCallSurvivesTheWire(t *testing.T) {
	o := testRead()
	h := Header{Datacenter: "dc2", Token: "t", Consistency: Consistent, MinIndex: 7, MaxWait: time.Minute, MaxStale: time.Second, Near: "n", Hops: 2, Forwarded: true, Timeout: time.Second}
	sent := NewCall(o, h, &Text{Text: "ask"})
	body, err := sent.Body()
	if err != nil {
		t.Fatal(err)
	}
	head, err := AppendHead(nil, sent)
	if err != nil {
		t.Fatal(err)
	}
	name, h2, body2, err := ReadHead(append(head, body...))
	if err != nil || name != "test.read" || h2 != h {
		t.Fatalf("%q %+v %v", name, h2, err)
	}
	req, err := Received(o, h2, body2).Request()
	if err != nil || req.(*Text).Text != "ask" {
		t.Errorf("%+v %v", req, err)
	}
}

func TestReplySurvivesTheWire(t *testing.T) {
	o := testRead()
	m := Meta{Index: 9, LastContact: time.Second, KnownLeader: true, Datacenter: "dc2", Filtered: true, Opaque: true,
		Outcomes: []Outcome{{Datacenter: "dc1"}, {Datacenter: "dc2", State: Aged, Age: time.Second}, {Datacenter: "dc3", State: Unreachable}}}
	for _, result := range []any{&Texts{Texts: []string{"a", "b"}}, nil} {
		b, err := AppendReply(nil, NewReply(m, result))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadReply(b)
		if err != nil || !reflect.DeepEqual(r.Meta, m) {
			t.Fatalf("%+v %v", r, err)
		}
		v, err := r.Result(o)
		if err != nil || (result == nil) != (v == nil) {
			t.Errorf("%+v %v", v, err)
		}
	}
}

// Times that a peer says can be added to, whatever it says.
func TestTimesOfRepliesAreBounded(t *testing.T) {
	for said, want := range map[time.Duration]time.Duration{1<<63 - 1: Longest, -time.Second: 0, time.Hour: time.Hour} {
		b, err := AppendReply(nil, NewReply(Meta{Index: 1, LastContact: said, Age: said, Outcomes: []Outcome{{Datacenter: "dc2", Age: said}}}, nil))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadReply(b)
		if err != nil || r.Meta.LastContact != want || r.Meta.Age != want || r.Meta.Outcomes[0].Age != want {
			t.Errorf("%s: %+v, %v, want %s", said, r.Meta, err, want)
		}
	}
}

func TestErrorSurvivesTheWire(t *testing.T) {
	for err, code := range map[error]Code{
		ErrNoLeader:                             CodeNoLeader,
		fmt.Errorf("wrapped: %w", ErrNotLeader): CodeNotLeader,
		errors.New("plain"):                     CodeInternal,
		&rules.DeniedError{Who: "anonymous token", Resource: rules.Key, Access: rules.Read, Name: "x"}: CodeDenied,
	} {
		_, got := ReadReply(AppendError(nil, err))
		if CodeOf(got) != code {
			t.Errorf("%v became %v", err, got)
		}
	}
	_, got := ReadReply(AppendError(nil, &rules.DeniedError{Who: "anonymous token", Resource: rules.Key, Access: rules.Read, Name: "x"}))
	if want := `Permission denied: anonymous token lacks permission 'key:read' on "x". The anonymous token is used implicitly when a request does not specify a token.`; got.Error() != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Retrying must never repeat what may have been done, unless it is a read.
func TestRetryRules(t *testing.T) {
	for _, c := range []Code{CodeInternal, CodeInvalid, CodeDenied, CodeTimeout, CodeBusy, CodeUnsupported} {
		if c.Retry() != RetryNever {
			t.Errorf("code %d is retried", c)
		}
	}
	if CodeLost.Retry() != RetryReads || CodeNoLeader.Retry() != RetryAll {
		t.Error("lost or leaderless calls are retried wrongly")
	}
}

func FuzzReadHead(f *testing.F) {
	head, _ := AppendHead(nil, NewCall(testRead(), Header{Datacenter: "dc2", Token: "t"}, nil))
	f.Add(head)
	f.Add([]byte{0xff, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, _, body, err := ReadHead(b); err == nil && len(name)+len(body) > len(b) {
			t.Errorf("read more than there was")
		}
	})
}

func FuzzReadReply(f *testing.F) {
	b, _ := AppendReply(nil, NewReply(Meta{Index: 1}, &Texts{Texts: []string{"a"}}))
	f.Add(b)
	f.Add(AppendError(nil, ErrNoLeader))
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadReply(b)
		if (r == nil) == (err == nil) {
			t.Fatalf("reply %v and error %v", r, err)
		}
		if err == nil {
			if _, err := r.Result(testRead()); err != nil && CodeOf(err) != CodeInternal {
				t.Error(err)
			}
		}
	})
}

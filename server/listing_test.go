package server

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/kv"
)

// filled is a server with a list that is longer than a message.
func filled(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t, nil)
	h.start(t, nil)
	servertest.Fill(t, h.cfg.State)
	return h
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

func TestLongResultIsNoMessage(t *testing.T) {
	h := filled(t)
	call := op.NewCall(&kv.List, op.Header{}, &kv.ListRequest{})
	call.Take = op.TakeShort
	if _, err := h.Do(t.Context(), call); op.CodeOf(err) != op.CodeLong {
		t.Errorf("%v", err)
	}
}

func TestWaitForLongListing(t *testing.T) {
	h := filled(t)
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
	servertest.Eventually(t, "the read waits", func() bool { return h.blocked.InUse() == 1 })
	servertest.Write(t, h.cfg.State, "k/new", "x")
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

package view

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
)

// An answer of a view lasts while the view holds what it held and its source vouches for it,
// and keeps the view from being dropped.
func TestAnswersLastWhileTheViewHoldsThem(t *testing.T) {
	views(t, nil, func(t *testing.T, v *Views, o *owner) {
		ask := func() op.Lasting {
			t.Helper()
			_, reply, err := reading().Ask(t.Context(), v, op.Header{Datacenter: "dc2", Consistency: op.Cached}, &op.Text{Text: "a"})
			if err != nil {
				t.Fatal(err)
			}
			return reply.Lasting()
		}
		o.set("a", "1", 1)
		l := ask()
		for range int(2 * dropAfter / time.Minute) {
			<-time.After(time.Minute)
			if !l.Lasts(time.Now()) {
				t.Fatal("it does not last though nothing has changed")
			}
		}
		o.set("a", "2", 2)
		synctest.Wait()
		if l.Lasts(time.Now()) {
			t.Error("it lasts after a change")
		}
		if l = ask(); !l.Lasts(time.Now()) {
			t.Error("the next answer does not last")
		}
		o.cut(errors.New("cut"))
		<-time.After(silentAfter + time.Second)
		if l.Lasts(time.Now()) {
			t.Error("it lasts though the source is cut off")
		}
		if ask() != nil {
			t.Error("an answer that is not current lasts")
		}
	})
}

package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
)

// A peer can have a gateway dial a few addresses at a time, and none of them is remembered.
func TestDialsForOthersAreBounded(t *testing.T) {
	t.Parallel()
	a, g := open(t, "a"), open(t, "g", carries)
	to := transport.Target{Addr: g.addr()}
	if _, err := a.ask(t.Context(), to, request{Do: doPing}); err != nil {
		t.Fatal(err)
	}
	before := len(g.Stats())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	results := make(chan error, 4*maxDials)
	for i := range cap(results) {
		go func() {
			_, err := a.ask(ctx, to, request{Do: doOpen, Server: "x.dc-x", Addr: fmt.Sprintf("127.0.0.1:%d", 1+i), Label: 1})
			results <- err
		}()
	}
	refused := 0
	for range cap(results) {
		switch err := <-results; {
		case errors.Is(err, ErrTooMany):
			refused++
		case err == nil:
			t.Error("nobody is there, and a flow leads to it")
		}
	}
	if refused != 3*maxDials {
		t.Errorf("%d of %d dials were refused", refused, cap(results))
	}
	eventually(t, "what was dialled is forgotten", func() bool { return len(g.Stats()) == before })
	long := strings.Repeat("x", maxAddr+1)
	for _, q := range []request{{Server: long}, {Server: "x.dc-x", Addr: long}, {Server: "x.dc-x", Via: []string{long}}} {
		q.Do = doOpen
		if _, err := a.ask(t.Context(), to, q); !errors.Is(err, errBadRequest) {
			t.Errorf("a name that is too long: %v", err)
		}
	}
}

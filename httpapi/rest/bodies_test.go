package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/admission"
)

// Bodies that are being read have a budget together; small ones are read in any case.
func TestLargeBodiesShareABudget(t *testing.T) {
	api := &API{bodies: admission.NewBudget(10_000)}
	read := func(size int) (int, error) {
		x := &Exchange{api: api, W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPut, "/v1/kv/k", strings.NewReader(strings.Repeat("x", size)))}
		b, err := x.Body(MaxBody)
		return len(b), err
	}
	for _, size := range []int{64 << 10, 64<<10 + 10_000, 64<<10 + 10_000} { // the budget is given back
		if n, err := read(size); n != size || err != nil {
			t.Errorf("of %d bytes %d were read: %v", size, n, err)
		}
	}
	_, err := read(64<<10 + 10_001)
	f, ok := err.(*failure)
	if !ok || f.status != http.StatusTooManyRequests || f.reason != "busy" {
		t.Errorf("a body above the budget: %v", err)
	}
	if left := api.bodies.Left(); left != 10_000 {
		t.Errorf("%d of 10000 bytes are left", left)
	}
}

// One address has a share of it, so that others have the rest.
func TestOneAddressHasAShareOfTheBudget(t *testing.T) {
	api := &API{bodies: admission.NewShared(40_000, 10_000)}
	read := func(from string, body io.Reader) error {
		r := httptest.NewRequest(http.MethodPut, "/v1/kv/k", body)
		r.RemoteAddr, r.ContentLength = from, -1
		_, err := (&Exchange{api: api, W: httptest.NewRecorder(), R: r}).Body(MaxBody)
		return err
	}
	large := func() io.Reader { return strings.NewReader(strings.Repeat("x", 64<<10+6000)) }
	held, holds := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- read("192.0.2.1:1000", held) }()
	if _, err := io.Copy(holds, large()); err != nil { // it is being read now
		t.Fatal(err)
	}
	if _, err := holds.Write([]byte("x")); err != nil { // what came before has been counted
		t.Fatal(err)
	}
	if f, ok := read("192.0.2.1:2000", large()).(*failure); !ok || f.status != http.StatusTooManyRequests {
		t.Error("an address has more than its share")
	}
	for _, other := range []string{"192.0.2.2:1000", "[2001:db8::1]:1000", "@"} {
		if err := read(other, large()); err != nil {
			t.Errorf("%s is refused for what another holds: %v", other, err)
		}
	}
	if err := read("192.0.2.1:3000", strings.NewReader("small")); err != nil {
		t.Errorf("a small body of who holds much: %v", err)
	}
	if err := read("192.0.2.3:1000", strings.NewReader(strings.Repeat("x", 64<<10+20_000))); err != nil {
		t.Errorf("one body that is longer than the share: %v", err)
	}
	if err := holds.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := read("192.0.2.1:2000", large()); err != nil || api.bodies.Left() != 40_000 {
		t.Errorf("what was held is not given back: %v, %d left", err, api.bodies.Left())
	}
}

// Bodies that are nested deeper than anybody needs are refused before they are read;
// brackets in texts are no nesting.
func TestDeepBodiesAreRefused(t *testing.T) {
	nested := func(n int, inside string) []byte {
		return []byte(strings.Repeat("[", n) + inside + strings.Repeat("]", n))
	}
	for _, c := range []struct {
		body []byte
		ok   bool
	}{
		{nested(maxNesting, "1"), true},
		{nested(maxNesting+1, "1"), false},
		{nested(9000, `{"a":{}}`), false},
		{nested(1, `"`+strings.Repeat(`[{\"`, 9000)+`"`), true},
		{nested(1, strings.Repeat("[],", 9000)+"[]"), true},
	} {
		var v any
		err := DecodeJSON(c.body, &v)
		f, refused := err.(*failure)
		if (err == nil) != c.ok || err != nil && (!refused || f.status != http.StatusBadRequest || !strings.Contains(f.text, "nested deeper than 200")) {
			t.Errorf("%.40q of %d bytes: %v", c.body, len(c.body), err)
		}
	}
}

package failover

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

func open(t *testing.T) *storage.State {
	t.Helper()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()}, Tables()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// set writes a rule as a leader would.
func set(t *testing.T, s *storage.State, service string, datacenters ...string) (*Rule, error) {
	t.Helper()
	r := &Rule{Service: service, Datacenters: datacenters}
	if err := Set.Prepare(op.Leader{}, r); err != nil {
		return nil, err
	}
	v := s.View()
	err := Set.Check(v, r)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil, err
	}
	return commit(t, s, func(tx *storage.Txn) (*Rule, error) { return ApplySet(tx, r) })
}

func commit[Res any](t *testing.T, s *storage.State, apply func(*storage.Txn) (*Res, error)) (*Res, error) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	res, err := apply(tx)
	if err == nil {
		err = tx.Commit()
	}
	return res, err
}

func TestRulesAreWrittenReplacedAndDeleted(t *testing.T) {
	s := open(t)
	for i, service := range []string{"Web", "shop-*", "web"} {
		r, err := set(t, s, service, "DC2", "Nearest")
		if err != nil || r.Service != strings.ToLower(service) || !slices.Equal(r.Datacenters, []string{"dc2", op.Nearest}) || r.ModifyIndex != uint64(i+1) {
			t.Errorf("%s: %+v, %v", service, r, err)
		}
	}
	rules := func() Rules {
		v := s.View()
		defer v.Close()
		list, err := List.Query(v, &op.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		return *list
	}
	if got := rules(); len(got) != 2 || got[0].Service != "shop-*" || got[1].CreateIndex != 1 || got[1].ModifyIndex != 3 {
		t.Errorf("%+v", got)
	}
	for _, want := range []bool{true, false} {
		got, err := commit(t, s, func(tx *storage.Txn) (*DeleteResult, error) { return ApplyDelete(tx, &ServiceRequest{"web"}) })
		if err != nil || got.Deleted != want {
			t.Errorf("deleted: %+v, %v", got, err)
		}
	}
	if got := rules(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsNoRule(t *testing.T) {
	s := open(t)
	many := make([]string, maxDatacenters+1)
	for i := range many {
		many[i] = fmt.Sprint("dc", i)
	}
	for _, c := range []struct {
		service     string
		datacenters []string
		want        string
	}{
		{"", []string{"dc2"}, "the name of a service"},
		{"a*b", []string{"dc2"}, "the name of a service"},
		{"a b", []string{"dc2"}, "the name of a service"},
		{strings.Repeat("a", maxName+1), []string{"dc2"}, "the name of a service"},
		{"web", nil, "names 0 datacenters"},
		{"web", many, "names 33 datacenters"},
		{"web", []string{"dc2", "DC2"}, "twice"},
		{"web", []string{"all"}, "want the names of datacenters"},
		{"web", []string{op.Nearest, "dc2"}, "want the names of datacenters"},
		{"web", []string{"dc2,dc3"}, "want the names of datacenters"},
		{"web", []string{" nearest", "dc2"}, "want the names of datacenters"},
		{"web", []string{"dc2 "}, "want the names of datacenters"},
		{"web", []string{"dç2"}, "want the names of datacenters"},
		{"web", []string{""}, "want the names of datacenters"},
		{"web", []string{strings.Repeat("d", maxName+1)}, "257 bytes"},
	} {
		if _, err := set(t, s, c.service, c.datacenters...); op.CodeOf(err) != op.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q %.40v: %v, want %q", c.service, c.datacenters, err, c.want)
		}
	}
}

func TestOneRuleTooMany(t *testing.T) {
	s := open(t)
	_, err := commit(t, s, func(tx *storage.Txn) (r *Rule, err error) {
		for i := range MaxRules {
			if r, err = ApplySet(tx, &Rule{Service: fmt.Sprint("s", i), Datacenters: []string{"dc2"}}); err != nil {
				break
			}
		}
		return r, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set(t, s, "s7", "dc3"); err != nil {
		t.Errorf("in the place of another: %v", err)
	}
	if _, err := set(t, s, "new", "dc3"); op.CodeOf(err) != op.CodeBusy {
		t.Errorf("one too many: %v", err)
	}
}

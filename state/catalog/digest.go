package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o digest_gen.go -file digest.go
//msgp:limit arrays:65536 maps:16
//msgp:ignore InstanceAt

// ServiceHealth counts the instances of one service by their health. Names are
// in lower case, as they are looked up. Without instances it says that there are
// none any more.
type ServiceHealth struct {
	Name     string `msg:"n"`
	Passing  uint32 `msg:"p,omitempty"`
	Warning  uint32 `msg:"w,omitempty"`
	Critical uint32 `msg:"c,omitempty"`
}

// Total counts all instances.
func (h *ServiceHealth) Total() uint32 { return h.Passing + h.Warning + h.Critical }

// Count counts one instance more, or less with by = -1.
func (h *ServiceHealth) Count(status string, by int) {
	n := &h.Passing
	switch status {
	case Warning:
		n = &h.Warning
	case Critical:
		n = &h.Critical
	}
	*n = uint32(max(int64(*n)+int64(by), 0))
}

// Digest says for service names of a datacenter how healthy they are: for all of
// them, or for those where something has changed.
type Digest struct {
	Whole    bool            `msg:"all,omitempty"`  // what is not in it is not there
	More     bool            `msg:"more,omitempty"` // the next one belongs to it
	Services []ServiceHealth `msg:"s"`
}

// GetDigest reads the whole digest from the state. Servers follow that of another
// datacenter under its name: then changes follow the whole.
var GetDigest = op.Read[op.Empty, Digest]{Name: "catalog.digest", Authorize: authorizeDigest, Query: digest}

func authorizeDigest(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}

func digest(r storage.Reader, _ *op.Empty) (*Digest, error) {
	byName := map[string]*ServiceHealth{}
	err := EachInstanceHealth(r, func(_ InstanceAt, name, status string) {
		if byName[name] == nil {
			byName[name] = &ServiceHealth{Name: name}
		}
		byName[name].Count(status, 1)
	})
	if err != nil {
		return nil, err
	}
	d := &Digest{Whole: true, Services: make([]ServiceHealth, 0, len(byName))}
	for _, h := range byName {
		d.Services = append(d.Services, *h)
	}
	slices.SortFunc(d.Services, func(a, b ServiceHealth) int { return cmp.Compare(a.Name, b.Name) })
	return d, nil
}

// InstanceAt names an instance, or with an empty ID all that is on a node. The
// node's name is in lower case.
type InstanceAt struct{ Node, ID string }

// FollowHealth gathers which instances may have another health than before: give
// what it takes to Touched.
func FollowHealth(s *storage.State, limit int) *storage.Changes {
	return s.Changes(limit, services.Source(), checksByInstance.Source())
}

// Touched says which instance a change gathered by FollowHealth is about.
func Touched(c storage.Changed) (InstanceAt, bool) {
	if c.Source == 0 {
		parts, err := storage.SplitKey([]byte(c.Key))
		if err != nil || len(parts) != 2 {
			return InstanceAt{}, false
		}
		return InstanceAt{parts[0], parts[1]}, true
	}
	parts, ok := checksByInstance.Parts(c.Key, 2)
	if !ok {
		return InstanceAt{}, false
	}
	return InstanceAt{parts[0], parts[1]}, true
}

// InstancesOn names the instances on a node, whose name is in lower case.
func InstancesOn(r storage.Reader, node string) ([]InstanceAt, error) {
	var all []InstanceAt
	for key, err := range services.Keys(r, storage.Key(node)) {
		if err != nil {
			return nil, err
		}
		parts, err := storage.SplitKey(key)
		if err != nil {
			return nil, err
		}
		if len(parts) == 2 {
			all = append(all, InstanceAt{parts[0], parts[1]})
		}
	}
	return all, nil
}

// InstanceHealth returns the service name of an instance in lower case, empty if
// there is no such instance, and the worst of its checks and its node's.
func InstanceHealth(r storage.Reader, at InstanceAt) (name, status string, err error) {
	s, err := services.Get(r, storage.Key(at.Node, at.ID))
	if err != nil || s == nil {
		return "", "", err
	}
	var cs Checks
	for _, id := range []string{"", at.ID} {
		for c, err := range checksByInstance.Scan(r, storage.Key(at.Node, id)) {
			if err != nil {
				return "", "", err
			}
			cs = append(cs, Check{Status: c.Status})
		}
	}
	return strings.ToLower(s.Service.Service), cs.Status(), nil
}

// EachInstanceHealth tells of all instances what InstanceHealth tells of one.
func EachInstanceHealth(r storage.Reader, tell func(at InstanceAt, name, status string)) error {
	found := map[InstanceAt]Checks{} // those that are not passing
	for c, err := range checks.Scan(r, nil) {
		if err != nil {
			return err
		}
		if c.Status != Passing {
			at := InstanceAt{strings.ToLower(c.Node), c.ServiceID}
			found[at] = append(found[at], Check{Status: c.Status})
		}
	}
	for s, err := range services.Scan(r, nil) {
		if err != nil {
			return err
		}
		at := InstanceAt{strings.ToLower(s.Node), s.Service.ID}
		all := append(slices.Clone(found[at]), found[InstanceAt{Node: at.Node}]...)
		tell(at, strings.ToLower(s.Service.Service), all.Status())
	}
	return nil
}

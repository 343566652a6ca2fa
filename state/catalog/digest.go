package catalog

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o digest_gen.go -file digest.go
//msgp:limit arrays:65536 maps:16
//msgp:ignore InstanceAt Shown

// ServiceHealth counts the instances of one service by their health. Names are
// in lower case, as they are looked up. Without instances it says that there are
// none any more. Under the name of a network (see IsNetwork) it counts as passing
// the nodes and instances that have an address there.
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
	err := EachShown(r, func(_ InstanceAt, shown Shown) {
		for name, status := range shown.Counted() {
			if byName[name] == nil {
				byName[name] = &ServiceHealth{Name: name}
			}
			byName[name].Count(status, 1)
		}
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

// InstanceAt names an instance, or with an empty ID a node. The node's name is in
// lower case.
type InstanceAt struct{ Node, ID string }

// Shown is what a digest shows of an instance or, without name and status, of a
// node; nothing if there is none.
type Shown struct {
	Name   string // of the service, in lower case
	Status string // the worst of the instance's checks and its node's
	// Networks of its own addresses, one name after the other.
	Networks string
}

// Counted yields the names under which it is counted, with the status.
func (s Shown) Counted() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if s.Name != "" && !yield(s.Name, s.Status) {
			return
		}
		for rest := s.Networks; rest != ""; {
			end := len(rest)
			if next := strings.Index(rest[1:], networkMark); next >= 0 {
				end = next + 1
			}
			if !yield(rest[:end], Passing) {
				return
			}
			rest = rest[end:]
		}
	}
}

// FollowShown gathers of which nodes and instances a digest may show something else
// than before: give what it takes to Touched.
func FollowShown(s *storage.State, limit int) *storage.Changes {
	return s.Changes(limit, services.Source(), checksByInstance.Source(), nodes.Source())
}

// Touched says which instance a change gathered by FollowShown is about; without an
// ID it is about the node and all that is on it.
func Touched(c storage.Changed) (InstanceAt, bool) {
	switch c.Source {
	case 0:
		parts, err := storage.SplitKey([]byte(c.Key))
		if err != nil || len(parts) != 2 {
			return InstanceAt{}, false
		}
		return InstanceAt{parts[0], parts[1]}, true
	case 2:
		parts, err := storage.SplitKey([]byte(c.Key))
		if err != nil || len(parts) != 1 {
			return InstanceAt{}, false
		}
		return InstanceAt{Node: parts[0]}, true
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

// ShownOf returns what a digest shows of an instance or node.
func ShownOf(r storage.Reader, at InstanceAt) (Shown, error) {
	if at.ID == "" {
		n, err := nodes.Get(r, storage.Key(at.Node))
		if err != nil || n == nil {
			return Shown{}, err
		}
		return Shown{Networks: networksOf(n.addresses())}, nil
	}
	s, err := services.Get(r, storage.Key(at.Node, at.ID))
	if err != nil || s == nil {
		return Shown{}, err
	}
	var cs Checks
	for _, id := range []string{"", at.ID} {
		for c, err := range checksByInstance.Scan(r, storage.Key(at.Node, id)) {
			if err != nil {
				return Shown{}, err
			}
			cs = append(cs, Check{Status: c.Status})
		}
	}
	return s.Service.shown(cs.Status()), nil
}

func (s *Service) shown(status string) Shown {
	return Shown{Name: strings.ToLower(s.Service), Status: status, Networks: networksOf(s.addresses())}
}

// EachShown tells of all nodes and instances what ShownOf tells of one.
func EachShown(r storage.Reader, tell func(at InstanceAt, shown Shown)) error {
	for n, err := range nodes.Scan(r, nil) {
		if err != nil {
			return err
		}
		tell(InstanceAt{Node: strings.ToLower(n.Node)}, Shown{Networks: networksOf(n.addresses())})
	}
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
		tell(at, s.Service.shown(all.Status()))
	}
	return nil
}

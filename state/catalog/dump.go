package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/storage"
)

// externalSource is the metadata by which a service says that something other
// than an agent registered it.
const externalSource = "external-source"

// contents is all that is in the catalog below a prefix of keys that all three
// tables share.
type contents struct {
	nodes    []*Node
	services map[string][]*Service // by lower-cased node
	checks   map[string]Checks     // by lower-cased node
}

func readAll(r storage.Reader, prefix []byte) (*contents, error) {
	c := &contents{services: map[string][]*Service{}, checks: map[string]Checks{}}
	for n, err := range nodes.Scan(r, prefix) {
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	for s, err := range services.Scan(r, prefix) {
		if err != nil {
			return nil, err
		}
		at := strings.ToLower(s.Node)
		c.services[at] = append(c.services[at], &s.Service)
	}
	for check, err := range checks.Scan(r, prefix) {
		if err != nil {
			return nil, err
		}
		at := strings.ToLower(check.Node)
		c.checks[at] = append(c.checks[at], *check)
	}
	return c, nil
}

func (c *contents) info(n *Node) NodeInfo {
	at := strings.ToLower(n.Node)
	info := NodeInfo{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses,
		Meta: n.Meta, Services: make([]Service, 0, len(c.services[at])), Checks: c.checks[at]}
	for _, s := range c.services[at] {
		info.Services = append(info.Services, *s)
	}
	return info
}

func dumpNodes(r storage.Reader, _ *op.Empty) (*NodeInfos, error) {
	c, err := readAll(r, nil)
	if err != nil {
		return nil, err
	}
	list := make(NodeInfos, 0, len(c.nodes))
	for _, n := range c.nodes {
		list = append(list, c.info(n))
	}
	return &list, nil
}

func dumpNode(r storage.Reader, req *NodeRequest) (*NodeInfo, error) {
	c, err := readAll(r, nodeKey(req.Node))
	if err != nil || len(c.nodes) == 0 {
		return nil, err
	}
	info := c.info(c.nodes[0])
	return &info, nil
}

// dumpServices reads no nodes: what is written about them alone concerns nobody
// who watches services.
func dumpServices(r storage.Reader, _ *op.Empty) (*ServiceList, error) {
	of := map[string]Checks{} // by lower-cased node
	for c, err := range checks.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		at := strings.ToLower(c.Node)
		of[at] = append(of[at], *c)
	}
	byName := map[string]*ServiceParts{}
	named := func(name string) *ServiceParts {
		all := byName[name]
		if all == nil {
			all = &ServiceParts{Name: name}
			byName[name] = all
		}
		return all
	}
	for row, err := range services.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		s, on := &row.Service, of[strings.ToLower(row.Node)]
		named(s.Service).add(row.Node, s, on)
		if name := s.connects(); name != "" && s.Kind == mesh.ConnectProxy {
			named(name).addProxy(row.Node, s, on)
		}
	}
	list := make(ServiceList, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all := byName[name]
		all.Parts = slices.DeleteFunc(all.Parts, func(p ServicePart) bool { return p.Instances == 0 })
		if len(all.Parts) > 0 {
			list = append(list, *all)
		}
	}
	return &list, nil
}

// on returns the part of a node. Nodes come one after another.
func (l *ServiceParts) on(node string) *ServicePart {
	if n := len(l.Parts); n == 0 || !strings.EqualFold(l.Parts[n-1].Node, node) {
		l.Parts = append(l.Parts, ServicePart{Node: node, Tags: []string{}, Sources: []string{}})
	}
	return &l.Parts[len(l.Parts)-1]
}

// add counts an instance on a node, whose checks are given.
func (l *ServiceParts) add(node string, s *Service, checks Checks) {
	p := l.on(node)
	p.Instances++
	if p.Instances == 1 {
		p.count(checks, "")
	}
	p.count(checks, s.ID)
	p.Tags = join(p.Tags, s.Tags...)
	if source := s.Meta[externalSource]; source != "" {
		p.Sources = join(p.Sources, source)
	}
	l.Kind, l.Native = s.Kind, l.Native || s.Connect.Native
}

// addProxy counts the checks of a proxy of the service.
func (l *ServiceParts) addProxy(node string, s *Service, checks Checks) {
	l.on(node).count(checks, s.ID)
	transparent := s.Proxy.Mode == "transparent"
	l.Transparent = transparent && (l.Transparent || !l.Proxied)
	l.Proxied = true
}

// count counts the checks of a service, or with "" of the node.
func (p *ServicePart) count(checks Checks, serviceID string) {
	h := HealthSummary{}
	for i := range checks {
		if checks[i].ServiceID == serviceID {
			h.add(checks[i].Status)
		}
	}
	p.Passing, p.Warning, p.Critical = p.Passing+h.Passing, p.Warning+h.Warning, p.Critical+h.Critical
}

// join adds to a sorted list what is not in it.
func join(list []string, more ...string) []string {
	for _, s := range more {
		if at, found := slices.BinarySearch(list, s); !found {
			list = slices.Insert(list, at, s)
		}
	}
	return list
}

func summarize(r storage.Reader, _ *op.Empty) (*Summary, error) {
	c, err := readAll(r, nil)
	if err != nil {
		return nil, err
	}
	var all HealthSummary
	byService, byCheck := map[string]*HealthSummary{}, map[string]*HealthSummary{}
	for _, n := range c.nodes {
		at := strings.ToLower(n.Node)
		of := map[string]Checks{} // by service ID, "" for those of the node
		for _, check := range c.checks[at] {
			of[check.ServiceID] = append(of[check.ServiceID], check)
			count(byCheck, check.Name, check.Status)
		}
		all.add(of[""].Status())
		for _, s := range c.services[at] {
			count(byService, s.Service, of[s.ID].Status())
		}
	}
	return &Summary{Nodes: []HealthSummary{all}, Services: sorted(byService), Checks: sorted(byCheck)}, nil
}

func count(by map[string]*HealthSummary, name, status string) {
	if by[name] == nil {
		by[name] = &HealthSummary{Name: name}
	}
	by[name].add(status)
}

func sorted(by map[string]*HealthSummary) []HealthSummary {
	list := make([]HealthSummary, 0, len(by))
	for _, h := range by {
		list = append(list, *h)
	}
	slices.SortFunc(list, func(a, b HealthSummary) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

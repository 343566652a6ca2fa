package catalog

import (
	"strings"

	"github.com/legate-project/legate/storage"
)

// FindCheck returns a check of a node, or nil.
func FindCheck(r storage.Reader, node, id string) (*Check, error) {
	return checks.Get(r, checkKey(node, id))
}

// Critical lists the checks that the request makes critical.
func (r *RegisterRequest) Critical() []string {
	var ids []string
	for _, c := range r.all() {
		if c.Status == Critical {
			ids = append(ids, c.CheckID)
		}
	}
	return ids
}

// FindNode returns the node with the name or, where that is empty, with the ID;
// nil if there is none.
func FindNode(r storage.Reader, like *Node) (*Node, error) {
	if like.Node != "" || like.ID == "" {
		return nodes.Get(r, nodeKey(like.Node))
	}
	for n, err := range nodesByID.Scan(r, storage.Key(strings.ToLower(like.ID))) {
		return n, err
	}
	return nil, nil
}

// FindService returns a service of a node, or nil.
func FindService(r storage.Reader, node, id string) (*Service, error) {
	row, err := services.Get(r, serviceKey(node, id))
	if err != nil || row == nil {
		return nil, err
	}
	return &row.Service, nil
}

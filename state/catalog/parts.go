package catalog

import "github.com/legate-project/legate/storage"

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

package catalog

import (
	"slices"

	"github.com/legate-project/legate/storage"
)

// nameChange is by how much the count of a name (no tag), or of a name with a
// tag, changes.
type nameChange struct {
	name, tag string
	tagged    bool
	by        int
}

func (c *nameChange) key() []byte {
	if c.tagged {
		return storage.Key(c.name, c.tag)
	}
	return storage.Key(c.name)
}

// countNames keeps the names of services with their tags when a service was old
// and is now another; nil stands for none.
func countNames(tx *storage.Txn, old, now *Service) error {
	if old != nil && now != nil && old.Service == now.Service && slices.Equal(old.Tags, now.Tags) {
		return nil
	}
	var c nameChanges
	c.add(old, -1)
	c.add(now, 1)
	for i := range c.list {
		if err := c.list[i].apply(tx); err != nil {
			return err
		}
	}
	return nil
}

// nameChanges holds each name, and each tag of it, once, in the order in which
// they came: the same on every server.
type nameChanges struct {
	list []nameChange
	at   map[string]int // by key
	size int            // of the keys, in bytes
}

func (c *nameChanges) add(s *Service, by int) {
	if s == nil {
		return
	}
	c.count(nameChange{name: s.Service, by: by})
	seen := make(map[string]bool, len(s.Tags))
	for _, tag := range s.Tags {
		if !seen[tag] {
			seen[tag] = true
			c.count(nameChange{name: s.Service, tag: tag, tagged: true, by: by})
		}
	}
}

func (c *nameChanges) count(one nameChange) {
	if c.at == nil {
		c.at = map[string]int{}
	}
	key := string(one.key())
	if i, ok := c.at[key]; ok {
		c.list[i].by += one.by
		return
	}
	c.at[key] = len(c.list)
	c.size += len(key)
	c.list = append(c.list, one)
}

// apply changes the count, and shows the name or tag when the first comes and
// hides it when the last goes.
func (c *nameChange) apply(tx *storage.Txn) error {
	if c.by == 0 {
		return nil
	}
	t, err := tallies.Get(tx, c.key())
	if err != nil {
		return err
	}
	if t == nil {
		t = &Tally{}
	}
	before := t.N
	t.N += c.by
	if t.N > 0 {
		err = tallies.Put(tx, c.key(), t)
	} else {
		_, err = tallies.Delete(tx, c.key())
	}
	if err != nil || before > 0 && t.N > 0 {
		return err
	}
	if t.N > 0 {
		return serviceNames.Put(tx, c.key(), &ServiceName{Name: c.name, Tag: c.tag, Tagged: c.tagged})
	}
	_, err = serviceNames.Delete(tx, c.key())
	return err
}

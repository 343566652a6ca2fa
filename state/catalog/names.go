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
	var changes []nameChange
	changes = addChanges(changes, old, -1)
	changes = addChanges(changes, now, 1)
	for i := range changes {
		if err := changes[i].apply(tx); err != nil {
			return err
		}
	}
	return nil
}

func addChanges(list []nameChange, s *Service, by int) []nameChange {
	if s == nil {
		return list
	}
	list = addChange(list, nameChange{name: s.Service, by: by})
	for i, tag := range s.Tags {
		if !slices.Contains(s.Tags[:i], tag) {
			list = addChange(list, nameChange{name: s.Service, tag: tag, tagged: true, by: by})
		}
	}
	return list
}

func addChange(list []nameChange, c nameChange) []nameChange {
	for i := range list {
		if o := &list[i]; o.name == c.name && o.tag == c.tag && o.tagged == c.tagged {
			o.by += c.by
			return list
		}
	}
	return append(list, c)
}

// apply changes the count, and the name's row where the first came or the last
// went.
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
	return c.show(tx, t.N > 0)
}

// show adds what was counted to the name's row, or takes it away.
func (c *nameChange) show(tx *storage.Txn, there bool) error {
	key := storage.Key(c.name)
	row, err := serviceNames.Get(tx, key)
	if err != nil {
		return err
	}
	switch {
	case !c.tagged && !there:
		_, err = serviceNames.Delete(tx, key)
		return err
	case row == nil && c.tagged && !there: // its name went before
		return nil
	case row == nil:
		row = &ServiceName{Name: c.name}
	}
	if c.tagged {
		at, found := slices.BinarySearch(row.Tags, c.tag)
		switch {
		case there && !found:
			row.Tags = slices.Insert(row.Tags, at, c.tag)
		case !there && found:
			row.Tags = slices.Delete(row.Tags, at, at+1)
		}
	}
	return serviceNames.Put(tx, key, row)
}

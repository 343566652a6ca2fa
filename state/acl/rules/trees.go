package rules

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Trees compiles policies, such that equal rules are one Tree as long as it is among
// those that were asked for last. It is safe for concurrent use.
type Trees struct {
	max int

	mu     sync.Mutex
	byHash map[[sha256.Size]byte]*list.Element // of order
	order  *list.List                          // of *known, the last one asked for in front
}

// known is a tree with its hash.
type known struct {
	hash [sha256.Size]byte
	tree *Tree
}

// NewTrees returns a Trees that remembers up to max trees.
func NewTrees(max int) *Trees {
	return &Trees{max: max, byHash: map[[sha256.Size]byte]*list.Element{}, order: list.New()}
}

// Compile returns the tree of a policy. Two callers that come at once with rules that
// are not known get the same tree too.
func (c *Trees) Compile(s Settings, p *Policy) *Tree {
	p = Merge(p)
	hash := hashOf(s, p)
	if t := c.find(hash, nil); t != nil {
		return t
	}
	return c.find(hash, Compile(s, p)) // not under the lock: a large policy holds up nobody
}

// find returns the tree that is known by a hash; if there is none it is made, which
// may be nil.
func (c *Trees) find(hash [sha256.Size]byte, made *Tree) *Tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.byHash[hash]; ok {
		c.order.MoveToFront(at)
		return at.Value.(*known).tree
	}
	if made == nil || c.max <= 0 {
		return made
	}
	if c.order.Len() >= c.max {
		oldest := c.order.Back()
		delete(c.byHash, oldest.Value.(*known).hash)
		c.order.Remove(oldest)
	}
	c.byHash[hash] = c.order.PushFront(&known{hash, made})
	return made
}

// hashOf returns a hash that only equal settings and rules in normal form share.
func hashOf(s Settings, p *Policy) [sha256.Size]byte {
	flags := func(a, b bool) byte {
		var n byte
		if a {
			n = 1
		}
		if b {
			n |= 2
		}
		return n
	}
	h := sha256.New()
	line := []byte{flags(s.DefaultAllow, s.KeyList)}
	for i := range p.Rules {
		r := &p.Rules[i]
		line = append(line, flags(r.Prefix, false))
		for _, text := range []string{string(r.Resource), r.Name, string(r.Access)} {
			line = binary.AppendUvarint(line, uint64(len(text)))
			line = append(line, text...)
		}
		h.Write(line)
		line = line[:0]
	}
	h.Write(line) // what is left when there is no rule
	return [sha256.Size]byte(h.Sum(nil))
}

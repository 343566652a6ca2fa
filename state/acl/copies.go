package acl

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Buckets is into how many parts what is global is divided to be compared. With a
// hundred thousand records a part has 24.
const Buckets = 4096

type authorizer = rules.Authorizer

// denied is for what nobody may ask for.
func denied(a authorizer) error {
	return &rules.DeniedError{Who: a.Who(), Resource: rules.ACL, Access: rules.Write}
}

// bucket is the part that a record belongs to, wherever it is.
func (n Name) bucket() uint16 {
	sum := sha256.Sum256(append([]byte{byte(n.Kind)}, n.Key...))
	return binary.BigEndian.Uint16(sum[:]) % Buckets
}

// sum is the checksum of a record with the hash of its content.
func (n Name) sum(content []byte) uint64 {
	b := append([]byte{byte(n.Kind)}, n.Key...)
	sum := sha256.Sum256(append(append(b, 0), content...))
	return binary.BigEndian.Uint64(sum[:])
}

// global is one record of what is global, as it is read.
type global struct {
	name    Name
	content []byte // hash of its content
	add     func(*Records)
}

func globalPolicy(p *Policy) (global, error) {
	return global{Name{KindPolicy, strings.ToLower(p.ID)}, p.Hash, func(r *Records) { r.Policies = append(r.Policies, *p) }}, nil
}

func globalRole(o *Role) (global, error) {
	return global{Name{KindRole, strings.ToLower(o.ID)}, o.Hash, func(r *Records) { r.Roles = append(r.Roles, *o) }}, nil
}

func globalToken(t *Token) (global, error) {
	return global{Name{KindToken, strings.ToLower(t.AccessorID)}, t.Hash, func(r *Records) { r.Tokens = append(r.Tokens, *t) }}, nil
}

func globalMethod(m *Method) (global, error) {
	bare := *m
	bare.CreateIndex, bare.ModifyIndex = 0, 0
	content, err := hashed(bare.MarshalMsg(nil))
	return global{Name{KindMethod, strings.ToLower(m.Name)}, content, func(r *Records) { r.Methods = append(r.Methods, *m) }}, err
}

func globalBinding(b *Binding) (global, error) {
	bare := *b
	bare.CreateIndex, bare.ModifyIndex = 0, 0
	content, err := hashed(bare.MarshalMsg(nil))
	return global{Name{KindBinding, strings.ToLower(b.ID)}, content, func(r *Records) { r.Bindings = append(r.Bindings, *b) }}, err
}

// eachOf visits what a scan yields.
func eachOf[T any](scan func(yield func(*T, error) bool), of func(*T) (global, error), visit func(global) error) error {
	for v, err := range scan {
		if err != nil {
			return err
		}
		g, err := of(v)
		if err == nil {
			err = visit(g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachGlobal visits all that is global, what others refer to first.
func eachGlobal(r storage.Reader, visit func(global) error) error {
	err := eachOf(policies.Scan(r, nil), globalPolicy, visit)
	if err == nil {
		err = eachOf(roles.Scan(r, nil), globalRole, visit)
	}
	if err == nil {
		err = eachOf(methods.Scan(r, nil), globalMethod, visit)
	}
	if err == nil {
		err = eachOf(bindings.Scan(r, nil), globalBinding, visit)
	}
	if err != nil {
		return err
	}
	return eachOf(func(yield func(*Token, error) bool) {
		for t, err := range tokens.Scan(r, nil) {
			if (err != nil || !t.Local) && !yield(t, err) {
				return
			}
		}
	}, globalToken, visit)
}

// got is a record as global, nil for none.
func got[T any](v *T, err error, of func(*T) (global, error)) (*global, error) {
	if err != nil || v == nil {
		return nil, err
	}
	g, err := of(v)
	return &g, err
}

// findGlobal returns a record, nil for none.
func findGlobal(r storage.Reader, n Name) (*global, error) {
	switch n.Kind {
	case KindPolicy:
		p, err := FindPolicy(r, n.Key, "")
		return got(p, err, globalPolicy)
	case KindRole:
		o, err := FindRole(r, n.Key, "")
		return got(o, err, globalRole)
	case KindMethod:
		m, err := FindMethod(r, n.Key)
		return got(m, err, globalMethod)
	case KindBinding:
		b, err := FindBinding(r, n.Key)
		return got(b, err, globalBinding)
	case KindToken:
		t, err := FindToken(r, n.Key)
		if t != nil && t.Local {
			t = nil
		}
		return got(t, err, globalToken)
	}
	return nil, nil
}

// Inventory is what there is of what is global at one time: names and checksums.
type Inventory struct {
	buckets [Buckets][]item
	sums    [Buckets]uint64
}

type item struct {
	name Name
	sum  uint64
}

// TakeInventory reads all that is global.
func TakeInventory(r storage.Reader) (*Inventory, error) {
	inv := &Inventory{}
	err := eachGlobal(r, func(g global) error {
		b, sum := g.name.bucket(), g.name.sum(g.content)
		inv.buckets[b] = append(inv.buckets[b], item{g.name, sum})
		inv.sums[b] ^= sum
		return nil
	})
	return inv, err
}

// Total is the checksum of everything.
func (inv *Inventory) Total() uint64 {
	var all uint64
	for _, s := range inv.sums {
		all ^= s
	}
	return all
}

// Sums are the checksums of the buckets, as FollowRequest has them.
func (inv *Inventory) Sums() []byte {
	b := make([]byte, 0, 8*Buckets)
	for _, s := range inv.sums {
		b = binary.BigEndian.AppendUint64(b, s)
	}
	return b
}

// Differing lists the buckets that are not as these sums say.
func (inv *Inventory) Differing(sums []byte) ([]Bucket, error) {
	if len(sums) != 8*Buckets {
		return nil, op.Errorf(op.CodeInvalid, "%d bytes of checksums, where %d are expected", len(sums), 8*Buckets)
	}
	var out []Bucket
	for i, s := range inv.sums {
		if binary.BigEndian.Uint64(sums[8*i:]) == s {
			continue
		}
		b := Bucket{Number: uint16(i)}
		for _, it := range inv.buckets[i] {
			b.Names = append(b.Names, it.name)
		}
		out = append(out, b)
	}
	return out, nil
}

// Missing lists what the inventory has in a bucket and the bucket has not.
func (inv *Inventory) Missing(b *Bucket) []Name {
	var out []Name
	for _, it := range inv.buckets[b.Number%Buckets] {
		if !slices.Contains(b.Names, it.name) {
			out = append(out, it.name)
		}
	}
	return out
}

// FollowGlobal gathers which records of what is global may have changed, and whether
// this datacenter is the home or has begun: give what it takes to ChangedName.
func FollowGlobal(s *storage.State, limit int) *storage.Changes {
	return s.Changes(limit, policies.Source(), roles.Source(), methods.Source(), bindings.Source(), tokens.Source(), homes.Source(), start.Source())
}

// ChangedName says which record a change gathered by FollowGlobal is about; false if it
// is about no record.
func ChangedName(c storage.Changed) (Name, bool) {
	parts, err := storage.SplitKey([]byte(c.Key))
	if err != nil || len(parts) != 1 || c.Source < 0 || c.Source >= int(kinds) {
		return Name{}, false
	}
	return Name{Kind(c.Source), parts[0]}, true
}

// Gather makes messages of at most about max bytes of records, each with one record at
// least.
type Gather struct {
	max  int
	size int
	push func(*Changes) error
	next Changes
}

// NewGather returns a Gather that gives messages to push.
func NewGather(max int, push func(*Changes) error) *Gather { return &Gather{max: max, push: push} }

// flush pushes what there is, as a message that another one follows.
func (g *Gather) flush() error {
	c := g.next
	c.More = true
	g.next, g.size = Changes{}, 0
	return g.push(&c)
}

func (g *Gather) take(size int, into func(*Changes)) error {
	if g.size > 0 && g.size+size > g.max {
		if err := g.flush(); err != nil {
			return err
		}
	}
	g.size += size
	into(&g.next)
	return nil
}

// Bucket adds the names of a bucket.
func (g *Gather) Bucket(b Bucket) error {
	size := 8
	for _, n := range b.Names {
		size += 8 + len(n.Key)
	}
	return g.take(size, func(c *Changes) { c.Buckets = append(c.Buckets, b) })
}

// record adds a record.
func (g *Gather) record(r global) error {
	var one Records
	r.add(&one)
	return g.take(one.Msgsize(), func(c *Changes) { r.add(&c.Records) })
}

// In adds all that is in the buckets.
func (g *Gather) In(r storage.Reader, list []Bucket) error {
	var wanted [Buckets]bool
	for _, b := range list {
		wanted[b.Number] = true
	}
	return eachGlobal(r, func(rec global) error {
		if !wanted[rec.name.bucket()] {
			return nil
		}
		return g.record(rec)
	})
}

// Now adds what there is now of a name: the record, or that there is none.
func (g *Gather) Now(r storage.Reader, n Name) error {
	rec, err := findGlobal(r, n)
	if err != nil {
		return err
	}
	if rec != nil {
		return g.record(*rec)
	}
	return g.take(8+len(n.Key), func(c *Changes) { c.Deletes = append(c.Deletes, n) })
}

// End pushes the last message.
func (g *Gather) End(last Changes) error {
	last.Buckets, last.Deletes, last.Records = g.next.Buckets, g.next.Deletes, g.next.Records
	g.next, g.size = Changes{}, 0
	return g.push(&last)
}

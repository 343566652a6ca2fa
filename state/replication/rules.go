// Package replication keeps which keys of other datacenters are copied into this one: a
// rule for each prefix, and how far each has got. It declares what is asked of rules, and
// what the datacenter that has the keys tells of them.
//
// It refuses whatever else would be written below the prefix of a mirror. It copies
// nothing: that is server/replicas, and the command is kv.Copy.
package replication

import (
	"fmt"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o rules_gen.go -file rules.go
//msgp:limit arrays:64 maps:64

// The modes of rules.
const (
	// Mirror makes what is below the prefix here what is there: nobody else writes here.
	Mirror = "mirror"
	// Newest keeps of what is written here and there what was written last.
	Newest = "newest"
)

// Bounds of rules.
const (
	MaxRules  = 64
	maxPrefix = 1024 // bytes
)

// Rule says that keys of another datacenter are copied.
type Rule struct {
	// Datacenter that has the keys.
	Datacenter string `msg:"d"`
	// Prefix of the keys there, empty for all.
	Prefix string `msg:"p"`
	// Target is the prefix that takes its place here, and the name of the rule.
	Target string `msg:"t"`
	Mode   string `msg:"m"`
	Paused bool   `msg:"pa,omitempty"`

	// CreateIndex is that of the command that made the rule, or restored it.
	CreateIndex uint64 `msg:"ci"`
	ModifyIndex uint64 `msg:"mi"`
}

// Rules are all rules, in order of their targets.
type Rules struct {
	Rules []Rule `msg:"r"`
}

// Progress is how far a rule has got.
type Progress struct {
	Rule uint64 `msg:"r"` // CreateIndex of it
	// Index of the other datacenter up to which everything is here; 0 before there is.
	Index uint64 `msg:"i"`
	// Begun says that the rule copies: it was found to be no part of a ring.
	Begun bool `msg:"b,omitempty"`
}

// SetRequest makes a rule.
type SetRequest struct {
	Rule Rule `msg:"r"`
}

// The changes of rules.
const (
	Pause  = "pause"
	Resume = "resume"
	Remove = "remove"
)

// ChangeRequest changes the rule with a target.
type ChangeRequest struct {
	Target string `msg:"t"`
	Change string `msg:"c"`
}

// The rules have one row: a write of a key looks at all of them.
var (
	rulesTable = storage.NewTable[Rules](20, "replication-rules")
	progresses = storage.NewTable[Progress](21, "replication-progress")
)

// All returns the rules.
func All(r storage.Reader) ([]Rule, error) {
	if tx, ok := r.(*storage.Txn); ok { // each write of a key asks
		if none, err := rulesTable.Empty(tx); err != nil || none {
			return nil, err
		}
	}
	all, err := rulesTable.Get(r, nil)
	if err != nil || all == nil {
		return nil, err
	}
	return all.Rules, nil
}

// Find returns the rule with a target, nil if there is none.
func Find(r storage.Reader, target string) (*Rule, error) {
	all, err := All(r)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(rule Rule) bool { return rule.Target == target }); i >= 0 {
		return &all[i], nil
	}
	return nil, nil
}

// FindProgress returns how far a rule has got.
func FindProgress(r storage.Reader, rule *Rule) (Progress, error) {
	p, err := progresses.Get(r, []byte(rule.Target))
	if err != nil || p == nil || p.Rule != rule.CreateIndex {
		return Progress{Rule: rule.CreateIndex}, err
	}
	return *p, nil
}

// Advance says how far a rule has got.
func Advance(tx *storage.Txn, target string, p *Progress) error {
	return progresses.Put(tx, []byte(target), p)
}

// Copies reports whether a rule copies to a key. One that has not begun does not: what is there
// belongs to this datacenter.
func Copies(r storage.Reader, key string) (bool, error) {
	rule, err := Covering(r, key)
	if err != nil || rule == nil {
		return false, err
	}
	p, err := FindProgress(r, rule)
	return p.Begun || p.Index > 0, err
}

// Covering returns the rule that copies to a key; nil if there is none.
func Covering(r storage.Reader, key string) (*Rule, error) {
	all, err := All(r)
	return CoveringOf(all, key), err
}

// CoveringOf is Covering for who has read all rules.
func CoveringOf(all []Rule, key string) *Rule {
	for i := range all {
		if strings.HasPrefix(key, all[i].Target) {
			return &all[i]
		}
	}
	return nil
}

// Guard is Covering, and refuses the write of a key that a mirror has.
func Guard(r storage.Reader, key string) (*Rule, error) {
	rule, err := Covering(r, key)
	if err == nil && rule != nil && rule.Mode == Mirror {
		err = rule.refuse()
	}
	return rule, err
}

// GuardTree refuses the deletion of what is below a prefix if a mirror has any of it. It
// returns the other rules that copy there.
func GuardTree(r storage.Reader, prefix string) ([]Rule, error) {
	all, err := All(r)
	if err != nil {
		return nil, err
	}
	var hit []Rule
	for i := range all {
		if !overlap(prefix, all[i].Target) {
			continue
		}
		if all[i].Mode == Mirror {
			return nil, all[i].refuse()
		}
		hit = append(hit, all[i])
	}
	return hit, nil
}

func (rule *Rule) refuse() error {
	return op.Errorf(op.CodeConflict, "keys below %q are a mirror of %q in datacenter %s and written by nobody else: write there, or end that with legate kv replicate -remove -to-prefix %q",
		rule.Target, rule.Prefix, rule.Datacenter, rule.Target)
}

// Opposes refuses to tell a datacenter of keys that a rule copies from those that they are
// for, if one of the two rules is a mirror: what came from the other is not handed back, so
// each would take the other's keys away.
func Opposes(r storage.Reader, follower string, req *FollowRequest) error {
	all, err := All(r)
	if err != nil {
		return err
	}
	for i := range all {
		rule := &all[i]
		if rule.Datacenter == follower && (rule.Mode == Mirror || !req.Newest) && overlap(rule.Target, req.Prefix) && overlap(rule.Prefix, req.Target) {
			return op.Errorf(op.CodeConflict, "keys below %q are copied there from %q in datacenter %s (%s): remove that rule first (legate kv replicate -remove -to-prefix %q), or let both be of mode %s",
				rule.Target, rule.Prefix, follower, rule.Mode, rule.Target, Newest)
		}
	}
	return nil
}

// Behind is below which prefix of the rule's datacenter the keys are that it copies below a
// prefix here; false if it copies none there.
func (rule *Rule) Behind(prefix string) (string, bool) {
	if rest, ok := strings.CutPrefix(prefix, rule.Target); ok {
		return rule.Prefix + rest, true
	}
	return rule.Prefix, strings.HasPrefix(rule.Target, prefix)
}

// Meets is the first place of a chain in a datacenter that has keys below a prefix; -1 if there
// is none.
func Meets(chain []Place, datacenter, prefix string) int {
	return slices.IndexFunc(chain, func(p Place) bool { return p.Datacenter == datacenter && overlap(p.Prefix, prefix) })
}

// RingError is why keys are not copied in a ring of which a mirror is a part; nil where none is:
// in mode newest what comes back is known.
func RingError(ring []Place) error {
	if !slices.ContainsFunc(ring, func(p Place) bool { return p.Mode == Mirror }) {
		return nil
	}
	var text strings.Builder
	for i, p := range ring {
		if i == 0 {
			fmt.Fprintf(&text, "%q in %s would be copied", p.Prefix, p.Datacenter)
			continue
		}
		fmt.Fprintf(&text, " from %q in %s,", p.Prefix, p.Datacenter)
	}
	return op.Errorf(op.CodeConflict, "%s which is a ring, where mirrors take each other's keys away: remove one of these rules (legate kv replicate -remove), or let all be of mode %s", text.String(), Newest)
}

// overlap reports whether a key can be below both prefixes.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// Check says what is wrong with a rule of a datacenter.
func (rule *Rule) Check(own string) error {
	switch {
	case rule.Datacenter == "":
		return op.Errorf(op.CodeInvalid, "a rule of replication needs the datacenter that has the keys")
	case rule.Datacenter == own:
		return op.Errorf(op.CodeInvalid, "datacenter %s cannot copy keys from itself: name another one", own)
	case op.IsFanOut(rule.Datacenter):
		return op.Errorf(op.CodeInvalid, "keys are copied from one datacenter: %q is several", rule.Datacenter)
	case rule.Mode != Mirror && rule.Mode != Newest:
		return op.Errorf(op.CodeInvalid, "mode %.64q of replication is unknown: want %s or %s", rule.Mode, Mirror, Newest)
	case len(rule.Prefix) > maxPrefix || len(rule.Target) > maxPrefix:
		return op.Errorf(op.CodeInvalid, "a prefix of replication has at most %d bytes", maxPrefix)
	}
	return nil
}

// Fits says why a rule cannot stand beside others; nil if it can.
func Fits(all []Rule, rule *Rule) error {
	for i := range all {
		if other := &all[i]; overlap(rule.Target, other.Target) {
			return op.Errorf(op.CodeConflict, "%q overlaps with %q, where keys below %q of datacenter %s are copied to: choose another prefix, or remove that rule (legate kv replicate -remove -to-prefix %q)",
				rule.Target, other.Target, other.Prefix, other.Datacenter, other.Target)
		}
	}
	if len(all) >= MaxRules {
		return op.Errorf(op.CodeConflict, "there are %d rules of replication, their limit: copy a longer prefix, or remove one", MaxRules)
	}
	return nil
}

// ApplySet carries out Set.
func ApplySet(tx *storage.Txn, r *SetRequest) (*Rule, error) {
	all, err := All(tx)
	if err != nil {
		return nil, err
	}
	if err := Fits(all, &r.Rule); err != nil {
		return nil, err
	}
	rule := r.Rule
	rule.CreateIndex, rule.ModifyIndex = tx.Index(), tx.Index()
	all = append(all, rule)
	slices.SortFunc(all, func(a, b Rule) int { return strings.Compare(a.Target, b.Target) })
	return &rule, rulesTable.Put(tx, nil, &Rules{Rules: all})
}

// ApplyChange carries out Change. What was copied stays.
func ApplyChange(tx *storage.Txn, r *ChangeRequest) (*op.Empty, error) {
	all, err := All(tx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(rule Rule) bool { return rule.Target == r.Target })
	if i < 0 {
		return nil, NoRule(r.Target)
	}
	if r.Change == Remove {
		all = slices.Delete(all, i, i+1)
		if _, err := progresses.Delete(tx, []byte(r.Target)); err != nil {
			return nil, err
		}
	} else if paused := r.Change == Pause; all[i].Paused != paused {
		all[i].Paused, all[i].ModifyIndex = paused, tx.Index()
	} else {
		return nil, nil
	}
	return nil, rulesTable.Put(tx, nil, &Rules{Rules: all})
}

// Renew makes the rules of a state that was restored new ones: how far they have got says
// nothing of the keys that are here now, and what is on its way for those that were is refused.
func Renew(tx *storage.Txn) error {
	all, err := All(tx)
	if err != nil || len(all) == 0 {
		return err
	}
	for i := range all {
		all[i].CreateIndex = tx.Index()
	}
	return rulesTable.Put(tx, nil, &Rules{Rules: all})
}

// NoRule says that there is no rule with a target.
func NoRule(target string) error {
	return op.Errorf(op.CodeNotFound, "there is no rule that copies keys to %q: legate kv replicate -list shows all", target)
}

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{rulesTable, progresses} }

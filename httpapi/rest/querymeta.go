package rest

import (
	"time"

	"github.com/legate-project/legate/op"
)

// QueryMeta is what answers of transactions and of prepared queries say of
// themselves in their body; others say it in headers.
type QueryMeta struct {
	Index                 uint64
	LastContact           time.Duration // in ns
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           bool
	Backend               int
	ResultsFilteredByACLs bool
}

// QueryMetaOf says it of a result. An index is never 0: who sends that back does
// not wait.
func QueryMetaOf(m *op.Meta) QueryMeta {
	return QueryMeta{Index: max(m.Index, 1), LastContact: m.LastContact, KnownLeader: m.KnownLeader,
		ConsistencyLevel: consistency(m), ResultsFilteredByACLs: m.Filtered}
}

// consistency is the word for how current a result is.
func consistency(m *op.Meta) string {
	switch m.Consistency {
	case op.Consistent:
		return "consistent"
	case op.Stale, op.Cached:
		return "stale"
	}
	return "leader"
}

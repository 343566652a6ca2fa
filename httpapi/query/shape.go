package query

import (
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/query"
)

// shown is queries as clients see them: null for metadata that they ask nothing of.
func shown(list query.Queries) query.Queries {
	out := make(query.Queries, len(list))
	for i, q := range list {
		q.Service.NodeMeta, q.Service.ServiceMeta = rest.OrNull(q.Service.NodeMeta), rest.OrNull(q.Service.ServiceMeta)
		out[i] = q
	}
	return out
}

// shownAnswer is what a query leads to as clients see it.
type shownAnswer struct {
	*query.Answer
	rest.QueryMeta
}

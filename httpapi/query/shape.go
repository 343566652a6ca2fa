package query

import (
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/query"
)

// shownQuery is a prepared query as clients see it: with what it has nothing of,
// and null for metadata that it asks nothing of.
type shownQuery struct {
	query.Query
	Service shownService
}

type shownService struct {
	query.Service
	Failover      shownFailover
	SamenessGroup string
	IncludeAll    bool
}

type shownFailover struct {
	query.Failover
	SkipLocalDatacenter bool
}

func shown(list query.Queries) []shownQuery {
	out := make([]shownQuery, len(list))
	for i := range list {
		s := list[i].Service
		s.NodeMeta, s.ServiceMeta = rest.OrNull(s.NodeMeta), rest.OrNull(s.ServiceMeta)
		out[i] = shownQuery{Query: list[i], Service: shownService{Service: s, Failover: shownFailover{Failover: s.Failover}}}
	}
	return out
}

// shownAnswer is what a query leads to as clients see it.
type shownAnswer struct {
	*query.Answer
	rest.QueryMeta
}

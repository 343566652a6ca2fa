package coordinate

import (
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/coordinate"
)

// serve answers as an agent whose datacenter is the Caller.
func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c}).Routes())
}

// serveRecords answers from a node and a datacenter with coordinates.
func serveRecords(t testing.TB) *resttest.Server {
	return serve(t, &resttest.Caller{Answers: map[string]any{
		"coordinate.node": resttest.Answer(func(r *coordinate.NodeRequest) (any, error) {
			if r.Node != "n1" {
				return &coordinate.Entries{}, nil
			}
			return &coordinate.Entries{{Node: "n1", Coord: coordinate.Coord{Vec: []float64{0, 1}}}}, nil
		}),
		"coordinate.datacenters": &coordinate.DatacenterMaps{{Datacenter: "dc1", AreaID: "wan"}},
	}})
}

// One row is one request with its answer.
func TestRequestsOfCoordinatesAreAnswered(t *testing.T) {
	resttest.CheckEach(t, serveRecords, []resttest.Case{
		{"GET", "/v1/coordinate/datacenters", "", 200, `[{"Datacenter":"dc1","AreaID":"wan","Coordinates":[]}]`},
		{"GET", "/v1/coordinate/nodes", "", 200, `[]`},
		{"GET", "/v1/coordinate/node/n1", "", 200, `[{"Node":"n1","Segment":"","Coord":{"Vec":[0,1],"Error":0,"Adjustment":0,"Height":0}}]`},
		{"GET", "/v1/coordinate/node/none", "", 404, ""},
		{"PUT", "/v1/coordinate/update", `{"Node":"n1","Coord":{"Vec":[1]}}`, 200, ""},
	})
}

// One row is a request that is refused before anything is asked of the datacenter.
func TestBadInputChangesNothing(t *testing.T) {
	resttest.CheckRefused(t, serve, []resttest.Case{
		{"GET", "/v1/coordinate/node/", "", 400, "Missing node name"},
		{"PUT", "/v1/coordinate/update", `{"Coord":{}}`, 400, "Missing node name"},
		{"PUT", "/v1/coordinate/update", `{"Node":"n","Coord":{"Vec":[1e999]}}`, 400, "Request decode failed: "},
		{"PUT", "/v1/coordinate/update", `{"Node":"n","Coord":{"Vec":[NaN]}}`, 400, "Request decode failed: "},
	}...)
}

package catalog

import (
	"context"

	"github.com/legate-project/legate/op"
)

// maxPassedOver bounds how many datacenters of an order are passed over because the caller
// sees none of their instances.
const maxPassedOver = 8

// ListInOrder asks the datacenters of an order (op.Header.Datacenter) for the instances of a
// service. The first that has some answers; one of whose instances the caller may see none is
// passed over. Which one answers is decided for everybody, before anything is hidden, so that is
// found out by asking again. Who waits there hears of changes in what was passed over when the
// wait is over.
func ListInOrder(ctx context.Context, c op.Caller, h op.Header, r *ServiceRequest) (*Instances, *op.Reply, error) {
	for passed := 0; ; passed++ {
		list, reply, err := ListInstances.Ask(ctx, c, h, r)
		if err != nil || !reply.Meta.Filtered || list != nil && len(*list) > 0 || reply.Meta.Datacenter == "" || passed == maxPassedOver {
			return list, reply, err
		}
		order := op.LeaveOut(h.Datacenter, reply.Meta.Datacenter)
		if order == "" {
			return list, reply, nil
		}
		h.Datacenter = order
	}
}

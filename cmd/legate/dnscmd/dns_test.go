package dnscmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func TestCommands(t *testing.T) {
	const said = `{"Name":"web.service.consul.","Type":"SRV","Code":"NOERROR","Read":{"Kind":"service","Service":"web","Parts":[{"Text":"web","Means":"the service"},{"Text":"consul","Means":"the domain"}]},` +
		`"Answer":[{"Name":"web.service.consul.","Type":"SRV","TTL":5,"Data":"1 1 80 n1.node.dc1.consul."}],"Additional":[{"Name":"n1.node.dc1.consul.","Type":"A","TTL":0,"Data":"10.0.0.1"}],` +
		`"Datacenters":["dc1"],"Age":34.2,"Truncated":[],"Why":["One reason.","And another."]}`
	const outside = `{"Name":"www.example.com.","Type":"A","Code":"","Read":{"Kind":"outside","Parts":[{"Text":"www.example.com","Means":"a name outside"}]},"Answer":[],"Additional":[],"Datacenters":[],"Age":0,"Truncated":[],"Why":[]}`
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "dns explain -type=SRV web.service.consul", Answers: commandtest.Answers{"GET /v1/dns/explain/web.service.consul": said}, Asked: "type=SRV",
			Out: "web.service.consul. SRV: NOERROR, answered by dc1, as it was 34 s ago\n\nPart    Means\nweb     the service\nconsul  the domain\n\n" +
				"Name                 Type  TTL  Data\nweb.service.consul.  SRV   5    1 1 80 n1.node.dc1.consul.\n\nName                 Type  TTL  Data\nn1.node.dc1.consul.  A     0    10.0.0.1\n\nOne reason.\nAnd another.\n"},
		{Args: "dns explain www.example.com", Answers: commandtest.Answers{"GET /v1/dns/explain/www.example.com": outside},
			Out: "www.example.com. A: recursors would be asked\n\nPart             Means\nwww.example.com  a name outside\n"},
		{Args: "dns explain -format=xml x", Code: 1, Err: "want pretty or json"},
		{Args: "dns explain", Code: 1, Err: "NAME"},
	})
}

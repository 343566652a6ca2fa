// Package proctest runs the real program for tests: it builds the binary once
// a test run, starts processes, waits for what they say, kills them, and joins
// hosts (network namespaces) by switches, routers and firewalls.
//
// Whatever a test starts ends with the test, also with one that fails; the end
// of the output of each process of a failed test is in the test's log. What a
// killed test run leaves behind is removed by the next one. Hosts need Linux
// and root: tests that build networks are skipped for other users, and fail for
// root where the tools (ip, nft) are missing. It knows processes and networks,
// not what an agent is.
package proctest

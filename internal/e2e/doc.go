// Package e2e proves what Legate promises with real processes: the program as
// it is built, its command line, its ports, and the clients that its users
// have. It holds tests only; they need Linux, and root for networks of their
// own (the program ip, nft and dig). Other people's clients are programs of the
// system, scripts in testdata/clients, and a package of npm whose lock file is
// there; .ci/run installs them. A test whose client is missing is skipped, and
// fails where CI=true. Behaviour inside one process is proven where it is made.
package e2e

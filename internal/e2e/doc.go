// Package e2e proves what Legate promises with real processes: the program as
// it is built, its command line, its ports, and the clients that its users
// have. It holds tests only; they need Linux, and root for networks of their
// own (the program ip, nft and dig). Behaviour inside one process is proven
// where it is made.
package e2e

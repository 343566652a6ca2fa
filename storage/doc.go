// Package storage keeps what a server must not lose, in two Pebble instances:
// the Log (Raft's log and its stable store) and the State (the tables of the
// state machine).
//
// It promises:
//
//   - What Log acknowledged is on disk. What State committed is not, until
//     Sync or Mark returns: the Raft log is its durability. After a crash the
//     State is a prefix of what was committed, and its Position says which.
//   - One writer (Txn), any number of readers (View). A View is consistent, and
//     its Index is the newest index among the rows and tombstones that it read.
//   - Block wakes for a commit that touched a key or a prefix that the query
//     read, and for no other; no wake-up is lost.
//   - A failed write never counts as done: the first failure of the disk is
//     kept, every later write returns it (ErrFailed), and OnFatal is told once.
//   - An instance whose manifest is damaged is refused (ErrCorrupt), never opened
//     in part; so is a Log whose write-ahead log is damaged before its last
//     record. A damaged last record there cannot be told from a write that a
//     power loss cut off. What the State's loses, the Raft log has.
//
// It does not know what the tables hold, does not elect, does not forward, and
// does not repair: after a failure of the disk the process is expected to stop
// and to open the directory again.
package storage

// Package storage keeps the State, the tables of the state machine, in a Pebble
// instance. Raft's log has another: storage/raftlog. What both rest on is
// storage/engine.
//
// It promises:
//
//   - What was committed is not on disk until Sync or Mark returns: the Raft log
//     is its durability. After a crash the
//     State is a prefix of what was committed, and its Position says which.
//   - One writer (Txn), any number of readers (View). A View is consistent, and
//     its Index is the newest index among the rows and tombstones that it read.
//   - Block wakes for a commit that touched a key or a prefix that the query
//     read, and for no other; no wake-up is lost.
//   - A failed write never counts as done: the first failure of the disk is
//     kept, every later write returns it (ErrFailed), and OnFatal is told once.
//   - An instance whose manifest is damaged is refused (ErrCorrupt), never opened
//     in part. What its write-ahead log loses, the Raft log has.
//
// It does not know what the tables hold, does not elect, does not forward, and
// does not repair: after a failure of the disk the process is expected to stop
// and to open the directory again.
package storage

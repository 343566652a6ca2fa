// Package linear tests what reads and writes of the key/value store promise
// while servers die, stop, lose their network or run out of disk: real server
// processes in networks of their own, many clients, and a judge over everything
// that the clients saw.
//
// Default and consistent reads, writes and compares are checked to be
// linearizable key by key; lists and transactions, prefix by prefix. Who waits
// for a change is checked to miss none. Servers are replaced, keys rotated and
// snapshots restored meanwhile, and some ask through another datacenter. Stale reads are checked to show values that were
// written, and never to go back at one running server. A write that was
// answered with a word that promises that nothing was done must never be seen.
// Locks and semaphores of the official client are checked never to have more
// holders than they may, by transactions too.
//
// Everything here is a test. The long form runs for LEGATE_LINEAR (a
// duration); LEGATE_LINEAR_SEED repeats the faults of a run, though not the
// timing of processes.
package linear

// Package consensus runs one Raft node over a raftlog.Log and a storage.State.
//
// It promises: what Propose returned without an error is committed and applied
// here; an error says whether the command surely was not applied
// (ErrNotLeader, ErrOverloaded, ErrTooLarge, ErrStopped, a context that ended
// while the command waited for its turn) or may or may not have been (ErrLost).
// Commands that arrive together share a log entry, entries that commit together
// share a batch of the state. A restart continues from the state's own
// position; nothing is applied twice. A disk that fails makes the node step
// down and stop, and Failed says why.
//
// It knows bytes, not commands: what they mean is the Machine's. It does not
// choose its peers and does not decide what becomes of the process.
package consensus

package doctorcmd

import (
	"slices"
	"time"
)

// disk is what is known of a data directory.
type disk struct {
	dir              string
	kind             string // a file system that is no place for state; "" for others
	total, free      uint64 // bytes
	files, filesFree uint64
	missing          bool   // the directory is still to be made
	inUse            bool   // another process has it
	wrong            string // why nothing can be written there
	syncs            []time.Duration
	why              string // why there are none
	stuck            bool   // looking at it has not come back
}

const (
	inMemory = "memory"

	// What is tried where no agent runs: so many small files' worth, synced one by one.
	syncCount   = 20
	syncSize    = 4096
	syncTimeout = 4 * time.Second

	littleDisk = 1 << 30 // bytes
)

// diskChecks look at the data directory.
func diskChecks() []check {
	return []check{
		one("disk-answers", diskAnswers, fromSettings),
		one("disk-space", diskSpace, fromDisk),
		one("disk-kind", diskKind, fromDisk),
		one("disk-sync", diskSync, fromMetrics, fromSettings),
		one("disk-errors", diskErrors, fromMetrics, fromSettings),
	}
}

func diskAnswers(f *facts) Finding {
	if dir := f.settings.DataDir; f.disk.stuck {
		return problem("The disk of %s has not answered for %s.", dir, lookTimeout).of(dir).do("Look at it (dmesg, mount): what waits for it cannot even be ended.")
	}
	return fine("The disk answers, if there is one")
}

func diskSpace(f *facts) Finding {
	d := f.disk
	more := "Free some, or give it a larger disk: a server whose disk is full ends."
	switch {
	case d.total == 0:
		return skipped("%s does not say how large it is", d.dir)
	case d.free < littleDisk/8:
		return problem("%s are left where %s is.", size(d.free), d.dir).do("%s", more).of(d.dir)
	case d.free < littleDisk || d.free < d.total/10:
		return warning("%s of %s are left where %s is.", size(d.free), size(d.total), d.dir).do("%s", more).of(d.dir)
	case d.files > 0 && d.filesFree < d.files/20:
		return warning("%d of %d files can still be made where %s is.", d.filesFree, d.files, d.dir).do("Remove some: nothing can be written without, whatever space is left.").of(d.dir)
	}
	return fine("%s of %s are left where %s is", size(d.free), size(d.total), d.dir).of(d.dir)
}

func diskKind(f *facts) Finding {
	d := f.disk
	switch {
	case d.kind == inMemory && f.settings.Server:
		return warning("%s is in memory (tmpfs): the state of this server is lost when the machine restarts.", d.dir).do("Have data_dir name a directory on a disk.").of(d.dir)
	case d.kind == "overlay" && f.settings.Server:
		return warning("%s is in the layer of a container: the state of this server goes with it.", d.dir).do("Mount a volume there.").of(d.dir)
	case d.kind == inMemory || d.kind == "overlay":
		return fine("%s is not on a disk, which does for a client agent", d.dir).of(d.dir)
	case d.kind != "":
		return problem("%s is on %s: locks and syncs do not hold there what they promise, and each write waits for the network.", d.dir, d.kind).
			do("Have data_dir name a directory on a disk of this machine.").of(d.dir)
	}
	return fine("%s is on a disk", d.dir).of(d.dir)
}

// diskSync compares what a sync of the Raft log takes with how soon others take a leader
// for lost that says nothing.
func diskSync(f *facts) Finding {
	p99, count := f.metrics.quantile(.99, "legate_raft_log_fsync_seconds")
	if !f.settings.Server {
		return fine("A client agent has no Raft log")
	}
	if count < enoughSyncs {
		return fine("The Raft log has been synced %.0f times since the start: too few to judge", count)
	}
	return judgeSync(f, time.Duration(p99*float64(time.Second)), "of the Raft log, of 99 in 100")
}

// triedSync is the same for a disk that was tried.
func triedSync(f *facts) Finding {
	slices.Sort(f.disk.syncs)
	return judgeSync(f, f.disk.syncs[len(f.disk.syncs)-1], "of 4 KiB in "+f.disk.dir).of(f.disk.dir)
}

const (
	heartbeat = 500 * time.Millisecond // times raft_multiplier
	slowSync  = 50 * time.Millisecond
	// enoughSyncs are as many as there must be for one in a hundred to mean something.
	enoughSyncs = 200
)

func judgeSync(f *facts, longest time.Duration, what string) Finding {
	wait := heartbeat * time.Duration(max(f.settings.Performance.RaftMultiplier, 1))
	const faster = "Give data_dir a faster disk (SSD, no network between), or take others' work off it."
	switch {
	case longest >= wait/2:
		return problem("A sync takes up to %s (%s); a leader is taken for lost after %s.", span(longest), what, span(wait)).
			do(faster + " A larger performance.raft_multiplier helps meanwhile.")
	case longest > slowSync:
		return warning("A sync takes up to %s (%s), and every write waits for one or two.", span(longest), what).do(faster)
	}
	return fine("A sync takes up to %s (%s)", span(longest), what)
}

func diskErrors(f *facts) Finding {
	switch m := f.metrics; {
	case m.sum("legate_storage_background_errors_total") > 0 || m.sum("legate_raft_failed") > 0:
		return problem("Writing to disk has failed: this server has stopped to take part.").do("Look at the end of its log and at the machine's disk; start it again when that is mended.")
	case f.often(m.sum("legate_storage_disk_slow_total")):
		return problem("%.0f operations of the disk have taken longer than 5 s in %s.", m.sum("legate_storage_disk_slow_total"), span(f.uptime())).
			do("Look at the disk (dmesg, smartctl) and at who else uses it.")
	case f.often(m.sum("legate_storage_write_stalls_total")):
		return warning("Writes were held back %.0f times in %s because the disk did not keep up.", m.sum("legate_storage_write_stalls_total"), span(f.uptime())).
			do("Look at disk-sync; if it goes on, the disk is too slow for the load.")
	}
	return fine("The disk has kept up for %s", span(f.uptime()))
}

// dataDirectory says whether an agent could use its data directory.
func dataDirectory(f *facts) Finding {
	switch d := f.disk; {
	case d.inUse:
		return problem("%s is in use by another agent, though none answers at %s.", d.dir, f.address).of(d.dir).
			do("Say where that one listens (-http-addr), or end it, or give this one another data_dir.")
	case d.wrong != "":
		return problem("%s: an agent could not keep anything there.", d.wrong).of(d.dir).do("Run this as the agent's user; if it may not either, have it own the directory.")
	case d.missing:
		return fine("%s is going to be made", d.dir).of(d.dir)
	}
	return fine("%s can be written", f.disk.dir).of(f.disk.dir)
}

package doctorcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"
)

// machine is what is known of the machine of an agent.
type machine struct {
	readBuffer, writeBuffer uint64 // that a socket may ask for, in bytes; 0 is unknown
	clockKnown, clockFree   bool   // whether the kernel says how its clock is; that nobody sets it
	memory, available       uint64 // bytes
	drops                   uint64 // packets for the agent that found no room
}

// process is that of the agent.
type process struct {
	pid  int
	swap uint64 // bytes of it that are on disk
	// forces: it takes buffers for sockets that are larger than the kernel allows others.
	forces bool
}

// port is one that an agent is to listen at.
type port struct {
	key, network, addr string
	err                error
	owner              string // who has it
}

const (
	// quicBuffer is what QUIC asks of the kernel for a socket, in bytes: 7 MiB, and the
	// kernel's own share.
	quicBuffer = 7_500_000
	// HTTP connections get half of the files that the agent may open, and 16,384 at most.
	fewFiles  = 4096
	someFiles = 16384
)

// machineChecks look at the machine and the process.
func machineChecks() []check {
	return []check{
		one("udp-buffers", udpBuffers, fromMachine, fromSettings),
		one("udp-drops", udpDrops, fromMachine, fromMetrics),
		one("clock-set", clockSet, fromMachine),
		one("memory", memory, fromMachine),
		one("swap", swap, fromProcess),
		one("open-files", openFiles, fromMetrics),
	}
}

func udpBuffers(f *facts) Finding {
	m := f.machine
	switch {
	case m.readBuffer == 0 || m.writeBuffer == 0:
		return skipped("the kernel does not say how large buffers of sockets may be")
	case f.process.forces:
		return fine("The agent may take what buffers it likes (CAP_NET_ADMIN)")
	case !f.settings.Server:
		return fine("Sockets may have buffers of %s; a client agent needs no more", size(min(m.readBuffer, m.writeBuffer)))
	case m.readBuffer < quicBuffer || m.writeBuffer < quicBuffer:
		return warning("Sockets may have buffers of %s for reading and %s for writing; QUIC asks for %s, so bursts lose packets.",
			size(m.readBuffer), size(m.writeBuffer), size(quicBuffer)).
			do("sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d, the same into /etc/sysctl.d, then restart the agent.", quicBuffer, quicBuffer)
	}
	return fine("Sockets may have buffers of %s", size(min(m.readBuffer, m.writeBuffer)))
}

func udpDrops(f *facts) Finding {
	if n := f.machine.drops; f.often(float64(n)) {
		return warning("The kernel has dropped %d packets for the agent in %s because it did not read them in time.", n, span(f.uptime())).
			do("Look at the processor's load and at udp-buffers; gossip and calls repeat what is lost, which takes time.")
	}
	return fine("The kernel has dropped hardly a packet for the agent: %d in %s", f.machine.drops, span(f.uptime()))
}

func clockSet(f *facts) Finding {
	switch m := f.machine; {
	case !m.clockKnown:
		return skipped("the kernel does not say how its clock is")
	case m.clockFree:
		return warning("Nobody sets the clock of this machine: it drifts, by seconds in a week.").
			do("Run chrony or systemd-timesyncd. Certificates, tokens that expire and log-ins go by the clock.")
	}
	return fine("The clock of this machine is set from outside")
}

func memory(f *facts) Finding {
	m := f.machine
	if m.memory > 0 && m.available < m.memory/20 {
		return warning("%s of %s of memory are left.", size(m.available), size(m.memory)).
			do("Give the machine more memory, or less to do: the kernel ends processes when nothing is left.")
	}
	return fine("%s of %s of memory are left", size(m.available), size(m.memory))
}

func swap(f *facts) Finding {
	if f.process.swap > 1<<20 {
		return warning("%s of the agent (process %d) are swapped out: it stands still while they are read.", size(f.process.swap), f.process.pid).
			do("Give the machine more memory, or set MemorySwapMax=0 for the service.")
	}
	return fine("Nothing of the agent (process %d) is swapped out", f.process.pid)
}

func openFiles(f *facts) Finding {
	limit, open := f.metrics.sum("process_max_fds"), f.metrics.sum("process_open_fds")
	const more = "Raise the limit (LimitNOFILE=65536 in the service, or ulimit -Hn) and restart the agent."
	switch {
	case limit == 0:
		return skipped("the agent does not say how many files it may open")
	case open > limit*8/10:
		return problem("The agent has %.0f of %.0f files open: soon it takes no connections.", open, limit).do(more)
	case limit < fewFiles:
		return problem("The agent may open %.0f files, so HTTP takes %.0f connections at most.", limit, limit/2).do(more)
	case limit < someFiles:
		return warning("The agent may open %.0f files, so HTTP takes %.0f connections at most.", limit, limit/2).do(more)
	}
	return fine("The agent has %.0f of %.0f files open", open, limit)
}

// tryPorts opens each port for a moment.
func tryPorts(all []port) []port {
	for i := range all {
		p := &all[i]
		var c interface{ Close() error }
		if p.network == "udp" {
			c, p.err = net.ListenPacket("udp", p.addr)
		} else {
			c, p.err = net.Listen("tcp", p.addr)
		}
		if p.err == nil {
			p.err = c.Close()
			continue
		}
		p.owner = ownerOf(p.network, p.addr)
	}
	return all
}

// freePorts says which ports an agent could not listen at.
func freePorts(f *facts) []Finding {
	var found []Finding
	for _, p := range f.ports {
		where := p.addr + "/" + p.network
		switch {
		case p.err == nil:
		case errors.Is(p.err, fs.ErrPermission):
			found = append(found, problem("This user may not listen at %s (%s).", where, p.key).of(where).
				do("Ports below 1024 take CAP_NET_BIND_SERVICE, which the service has; run this as root to look at the others."))
		case p.owner != "":
			found = append(found, problem("%s (%s) is taken by %s.", where, p.key, p.owner).of(where).do("End that, or have %s name another port.", p.key))
		default:
			found = append(found, problem("The agent could not listen at %s (%s): %v.", where, p.key, p.err).of(where).do("Free it, or have %s name another.", p.key))
		}
	}
	return orFine(found, "%d ports are free", len(f.ports))
}

// size is a number of bytes in the unit that shows it best.
func size(n uint64) string {
	v, unit := float64(n), "bytes"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, larger
	}
	if v < 10 && unit != "bytes" {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// span is a time in the unit that shows it best.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

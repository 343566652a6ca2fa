package checks

import (
	"crypto/rand"
	"fmt"
	"os"
	"slices"
)

const (
	// runVariable is in the environment of each script: by it those are found that
	// it started and that left its process group.
	runVariable = "LEGATE_CHECK_RUN"
	// maxLeft is how many processes the runs of one script may leave behind that
	// have left its group, as a daemon does which a script starts. With more of them
	// all are killed and the check is critical.
	maxLeft = 32
)

// mark names the runs of one script. Only this process knows it.
type mark struct {
	check string
	runs  uint64
	left  []int // processes of earlier runs
}

// begin returns the environment of the next run.
func (m *mark) begin() []string {
	if m.check == "" {
		m.check = runVariable + "=" + rand.Text() + "."
	}
	m.runs++
	return append(os.Environ(), m.run())
}

// run is what the processes of the last run have in their environment.
func (m *mark) run() string { return fmt.Sprintf("%s%d", m.check, m.runs) }

// killed ends what is left of a run that was killed, and says so if it cannot.
func (m *mark) killed() string {
	if hunt(m.run(), true) {
		return ""
	}
	return "Some of the processes that the script started could not be killed\n"
}

// ended looks for what a run left that has ended by itself; first is the script's
// process. It says so if that is too much: then it is killed.
func (m *mark) ended(first int) string {
	m.left = stillThere(append(m.left, startedSince(first)...), m.check)
	if len(m.left) <= maxLeft {
		return ""
	}
	text := fmt.Sprintf("Killed: the script left more than %d processes behind\n", maxLeft)
	if !hunt(m.check, false) {
		text += "Some of them could not be killed\n"
	}
	m.left = nil
	return text
}

// stillThere are those of the processes that carry the mark.
func stillThere(pids []int, check string) []int {
	slices.Sort(pids)
	return slices.DeleteFunc(slices.Compact(pids), func(pid int) bool { return !carries(pid, check, false) })
}

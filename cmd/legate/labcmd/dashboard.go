package labcmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
)

const (
	drawPeriod = time.Second      // on a terminal
	linePeriod = 10 * time.Second // elsewhere
)

// dashboard shows the state of a lab: a table that is drawn anew on a terminal,
// lines of text when something changed elsewhere.
type dashboard struct {
	out      io.Writer
	cluster  *testcluster.Cluster
	terminal bool
	drawn    int // lines on the screen
	last     string
}

// newDashboard returns a board of the cluster that is drawn on out.
func newDashboard(out io.Writer, c *testcluster.Cluster) *dashboard {
	b := &dashboard{out: out, cluster: c}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

// show draws until stopped is closed.
func (b *dashboard) show(stopped <-chan struct{}) {
	period := linePeriod
	if b.terminal {
		period = drawPeriod
	}
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		b.draw(b.table())
		select {
		case <-stopped:
			return
		case <-t.C:
		}
		select {
		case <-stopped: // what was said since would be drawn over
			return
		default:
		}
	}
}

func (b *dashboard) draw(text string) {
	switch {
	case b.terminal:
		if b.drawn > 0 {
			fmt.Fprintf(b.out, "\x1b[%dA\x1b[J", b.drawn)
		}
		fmt.Fprint(b.out, text)
		b.drawn = strings.Count(text, "\n")
	case text != b.last:
		fmt.Fprintf(b.out, "%s\n%s", time.Now().Format(time.TimeOnly), text)
	}
	b.last = text
}

func (b *dashboard) table() string {
	rows := b.cluster.Overview()
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "DATACENTER\tLEADER\tMEMBERS\tSERVICES")
	for _, r := range rows {
		fmt.Fprintf(w, "\tTO %s", strings.ToUpper(r.Datacenter))
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		name := r.Datacenter
		if r.Region != "" {
			name += " (" + r.Region + ")"
		}
		if r.Cut {
			name += " CUT"
		}
		leader := r.Leader
		if leader == "" {
			leader = "none"
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d alive\t%d", name, leader, r.Alive, r.Members, r.Services)
		for _, d := range r.To {
			switch {
			case d.Self:
				fmt.Fprint(w, "\t-")
			case !d.Known:
				fmt.Fprint(w, "\t?")
			default:
				fmt.Fprintf(w, "\t%.0f ms%s", d.RTT.Seconds()*1000, way(d))
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return s.String()
}

// way says how a datacenter is reached, if not directly.
func way(d testcluster.Distance) string {
	switch {
	case d.Through != nil:
		return " via " + strings.Join(d.Through, ", ")
	case d.Gateways:
		return " via gateways"
	}
	return ""
}

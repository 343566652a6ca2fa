package wanem

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Link is how packets go between two sites.
type Link struct {
	RTT    time.Duration // there and back, without jitter
	Jitter time.Duration // most deviation of one way, either side
	Loss   float64       // probability that a packet is lost, each way, 0 to 1
	Cut    bool          // nothing passes
}

// maxDelay bounds RTT and Jitter: what is longer is a mistake in writing.
const maxDelay = time.Minute

// ParseLink reads the form "rtt=120ms loss=1% jitter=5ms", or "cut". Each
// part may be missing; what is missing is zero.
func ParseLink(text string) (Link, error) {
	var l Link
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
		name, value, _ := strings.Cut(part, "=")
		var err error
		switch name {
		case "rtt":
			l.RTT, err = parseDelay(value)
		case "jitter":
			l.Jitter, err = parseDelay(value)
		case "loss":
			l.Loss, err = parseLoss(value)
		case "cut":
			l.Cut, err = parseCut(value)
		default:
			err = fmt.Errorf("use rtt=, jitter=, loss= or cut")
		}
		if err != nil {
			return Link{}, fmt.Errorf("read link %q: %q: %w", text, part, err)
		}
	}
	return l, nil
}

func parseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && (d < 0 || d > maxDelay) {
		err = fmt.Errorf("not between 0 and %v", maxDelay)
	}
	return d, err
}

func parseLoss(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	if percent {
		f /= 100
	}
	if math.IsNaN(f) || f < 0 || f > 1 {
		return 0, fmt.Errorf("not between 0 and 100%%")
	}
	return f, nil
}

func parseCut(s string) (bool, error) {
	if s == "" {
		return true, nil
	}
	return strconv.ParseBool(s)
}

// String is the form that ParseLink reads.
func (l Link) String() string {
	parts := []string{"rtt=" + l.RTT.String()}
	if l.Jitter != 0 {
		parts = append(parts, "jitter="+l.Jitter.String())
	}
	if l.Loss != 0 {
		parts = append(parts, "loss="+strconv.FormatFloat(math.Round(l.Loss*1e8)/1e6, 'g', -1, 64)+"%")
	}
	if l.Cut {
		parts = append(parts, "cut")
	}
	return strings.Join(parts, " ")
}

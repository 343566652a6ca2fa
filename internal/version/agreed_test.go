package version

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// The page that operators read has the numbers of this build.
func TestTheNumbersAreInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/upgrading.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{fmt.Sprintf("| feature level | %d |", Level), fmt.Sprintf("| state format | %d |", StateFormat),
		fmt.Sprintf("| stream format | %d |", StreamFormat), fmt.Sprintf("| archive format | %d |", ArchiveFormat)}
	for level, release := range levels() {
		if level > 0 {
			rows = append(rows, fmt.Sprintf("| %d | %s |", level, release))
		}
	}
	for _, name := range []string{RPC, Bulk, Parts, View, Snapshot, Gossip, Removal, Enroll, Relay, Gateway, Tunnel, Raft} {
		rows = append(rows, "`"+name+"`")
	}
	for _, row := range rows {
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/upgrading.md lacks %q", row)
		}
	}
}

func TestEachLevelHasItsRelease(t *testing.T) {
	if len(levels()) != Level+1 {
		t.Errorf("%d levels have a release, and there are %d", len(levels())-1, Level)
	}
	if OfLevel(Level+1) != "a later release" || OfLevel(0) != "a later release" || OfLevel(2) != "0.2.0" {
		t.Error(OfLevel(Level+1), OfLevel(0), OfLevel(2))
	}
}

// A newer Pebble must not raise the format by itself: older builds could not read it.
func TestPebbleReadsTheFormatOfStates(t *testing.T) {
	if StateFormat > pebble.FormatNewest || StateFormat < pebble.FormatMinSupported {
		t.Errorf("format %d, and this Pebble has %d to %d", StateFormat, pebble.FormatMinSupported, pebble.FormatNewest)
	}
}

package recovery

import (
	"os"
	"strings"
	"testing"
)

// Files that another user leaves there are none that the agent can open.
func TestOnlyTheOwnerLooks(t *testing.T) {
	dir := t.TempDir()
	if err := owned(dir, os.Geteuid()); err != nil {
		t.Error(err)
	}
	if err := owned(dir, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "run this as the user of the agent") {
		t.Errorf("another user: %v", err)
	}
	if _, err := Look(dir); err == nil || !strings.Contains(err.Error(), "no data directory of an agent") {
		t.Errorf("of an empty folder: %v", err)
	}
}

package wan

import (
	"log/slog"
	"testing"
)

// testWriter writes log lines to the test's own log.
type testWriter struct {
	t    *testing.T
	name string
}

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s: %s", w.name, p)
	return len(p), nil
}

func debugLevel() *slog.LevelVar {
	l := new(slog.LevelVar)
	l.Set(slog.LevelDebug)
	return l
}

package accept

import "testing"

func TestGzip(t *testing.T) {
	for line, want := range map[string]bool{"": false, "gzip": true, "br, gzip": true, "gzip;q=0.5": true, "gzip; q=0": false, "gzip;q=0.000": false, "xgzip": false, "br": false} {
		if Gzip([]string{"br", line}) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
}

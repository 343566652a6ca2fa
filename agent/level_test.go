package agent

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/legate-project/legate/config"
)

// feature_level is raised and lowered while the server runs: what is above it is refused
// and leaves nothing, and who lowers it too late for a way back is told so.
func TestFeatureLevelIsRaisedAndLowered(t *testing.T) {
	ip, dir := loopback(4), t.TempDir()
	o := run(t, ip, dir, `feature_level = 1`)
	const path, late = "/v1/operator/autopilot/configuration", "does not keep the way back open"
	set := func() (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, o.url+path, strings.NewReader(`{"LastContactThreshold": "1s"}`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("X-Legate-Reason"), string(text)
	}
	for i, level := range []int{1, 2, 1, 0, 1} {
		o.load = func() (*config.Config, error) {
			return load(t, ip, dir, fmt.Sprintf(`server = true bootstrap_expect = 1 feature_level = %d`, level))
		}
		if code, text := put(t, o.url+"/v1/agent/reload", ""); code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		eventually(t, fmt.Sprintf("feature_level = %d counts", level), func() bool {
			code, reason, text := set()
			if level == 1 {
				return code == 500 && reason == "conflict" && strings.Contains(text, "takes feature level 2")
			}
			return code == 200
		})
		if strings.Contains(o.log.String(), late) != (i > 1) {
			t.Errorf("step %d: who sets %d is told that it is too late: %v", i, level, i <= 1)
		}
		if c, err := o.client.Operator().AutopilotGetConfiguration(nil); i == 0 && (err == nil || !strings.Contains(err.Error(), "404")) {
			t.Errorf("what was refused left %+v (%v)", c, err)
		}
	}
}

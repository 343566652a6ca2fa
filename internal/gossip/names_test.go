package gossip

import (
	"io"
	"log"
	"testing"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// Names and tags become labels of metrics, which panic at what is no text, and
// attributes of spans, which keep a whole batch from being sent.
func TestWhoCannotBeNamedIsNoMember(t *testing.T) {
	t.Parallel()
	p := member(t, "a", 0, nil)
	for what, c := range map[string]struct {
		name string
		tags map[string]string
		want bool
	}{
		"text": {"b-\u00fc", map[string]string{"dc": "dc1"}, true}, "name": {"b\xff", nil, false}, "line": {"b\nlevel=ERROR", nil, false},
		"tag": {"b2", map[string]string{"dc": "\xff"}, false}, "key": {"b3", map[string]string{"\xff": "dc1"}, false},
	} {
		conf := serf.DefaultConfig()
		conf.NodeName, conf.Tags, conf.LogOutput = c.name, c.tags, nil
		conf.MemberlistConfig = memberlist.DefaultLocalConfig()
		conf.MemberlistConfig.BindAddr, conf.MemberlistConfig.BindPort, conf.MemberlistConfig.AdvertisePort = "127.0.0.1", 0, 0
		conf.MemberlistConfig.Logger, conf.Logger = log.New(io.Discard, "", 0), log.New(io.Discard, "", 0)
		stranger, err := serf.Create(conf)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Join([]string{memberOf(stranger.LocalMember()).HostPort()})
		if (err == nil) != c.want || (statusOf(p, c.name) == Alive) != c.want {
			t.Errorf("%s: %v, %v", what, err, statusOf(p, c.name))
		}
		if err := stranger.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}

package gossip

import (
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// What a member says of itself in tags.
func FuzzServerOf(f *testing.F) {
	s := Server{Name: "s1", ID: "11111111-2222-3333-4444-555555555555", Datacenter: "dc1", RPCPort: 8300, WANPort: 8302, Expect: 3, WANAddr: "10.0.0.1"}
	tags := s.Tags()
	for key, value := range tags {
		f.Add(key, value)
		f.Add(key, "")
		f.Add(key, "-1")
		f.Add(key, "99999999999999999999")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		m := Member{Name: "s1", Addr: "10.0.0.1", Port: 8301, Tags: s.Tags()}
		m.Tags[key] = value
		if got, ok := ServerOf(m); ok && (got.RPCPort <= 0 || got.RPCPort > 65535 || got.RaftPort <= 0 || got.RaftPort > 65535 || got.WANPort < 0 || got.WANPort > 65535) {
			t.Errorf("%s=%q makes a server of %+v", key, value, got)
		}
		_, _ = judgeNames(m), m.HostPort()
	})
}

// What a member answers when it is asked for its keys, and what it is told to do with them.
func FuzzKeyMessages(f *testing.F) {
	seed := func(v any) {
		var b []byte
		if err := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{}).Encode(v); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(&keyAnswer{Keys: [][]byte{testKey(1)}, Error: "no"})
	seed(&keyOrder{Action: string(InstallKey), Key: testKey(2)})
	f.Add([]byte{0xdd, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m MemberKeys
		m.take(b)
		if len(m.Keys) > MaxKeys || len(m.Error) > maxKeyError {
			t.Errorf("%d keys, an error of %d bytes", len(m.Keys), len(m.Error))
		}
		var order keyOrder
		_ = codec.NewDecoderBytes(b, &codec.MsgpackHandle{}).Decode(&order) // read or refused
	})
}

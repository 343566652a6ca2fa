package wan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// counting is a transport that keeps what is sent.
type counting struct {
	memberlist.NodeAwareTransport
	sent [][]byte
}

func (c *counting) WriteToAddress(b []byte, _ memberlist.Address) (time.Time, error) {
	c.sent = append(c.sent, b)
	return time.Time{}, nil
}

func watcher(t *testing.T) (*observed, *counting) {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry(), "dc1")
	if err != nil {
		t.Fatal(err)
	}
	o, under := newObserved("a1.dc1", m), &counting{}
	o.NodeAwareTransport = under
	return o, under
}

// message is one as memberlist encodes it.
func message(t *testing.T, kind byte, body any) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte{kind})
	if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(body); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packet wraps messages as memberlist does: compound, checksum, label.
func packet(messages ...[]byte) []byte {
	body := []byte{compoundMessage, byte(len(messages))}
	for _, m := range messages {
		body = binary.BigEndian.AppendUint16(body, uint16(len(m)))
	}
	body = append(body, bytes.Join(messages, nil)...)
	sealed := binary.BigEndian.AppendUint32([]byte{crcMessage}, crc32.ChecksumIEEE(body))
	return append(append([]byte{labelMessage, 5, 'w', 'a', 'n', '/', 'x'}, sealed...), body...)
}

// kinds lists the types of a packet's messages; nil if its checksum is wrong.
func kinds(b []byte) (out []byte) {
	messages(b, func(m []byte) bool { out = append(out, m[0]); return false })
	return out
}

func TestDeathThatNobodySuspectedIsTakenAsASuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := watcher(t)
		judged := func(kind byte, c claim) byte {
			b := packet(message(t, kind, c))
			o.judge(b)
			if got := kinds(b); len(got) == 1 {
				return got[0]
			}
			return 0
		}
		death := claim{Incarnation: 3, Node: "b1.dc2", From: "c1.dc3"}
		if got := judged(deadMessage, death); got != suspectMessage {
			t.Errorf("out of the blue: message %d, want a suspicion", got)
		}
		<-time.After(doubt + time.Second)
		if got := judged(deadMessage, death); got != deadMessage {
			t.Errorf("suspected for long: message %d, want the death", got)
		}
		death.Incarnation = 4
		if got := judged(deadMessage, death); got != suspectMessage {
			t.Errorf("refuted meanwhile: message %d, want a suspicion", got)
		}
		for what, c := range map[string]claim{
			"a goodbye":         {Incarnation: 3, Node: "b2.dc2", From: "b2.dc2"},
			"about this server": {Incarnation: 3, Node: "a1.dc1", From: "c1.dc3"},
		} {
			if got := judged(deadMessage, c); got != deadMessage {
				t.Errorf("%s: message %d, want it untouched", what, got)
			}
		}
		<-time.After(doubt + time.Second)
		o.cameBack("b1.dc2") // with the incarnation that it had
		if got := judged(deadMessage, death); got != suspectMessage {
			t.Errorf("it came back meanwhile: message %d, want a suspicion", got)
		}
		if n := testutil.ToFloat64(o.metrics.tempered); n != 3 {
			t.Errorf("counted %v tempered deaths, want 3", n)
		}
	})
}

func TestClaimsAreCountedOnce(t *testing.T) {
	o, under := watcher(t)
	own := message(t, suspectMessage, claim{Incarnation: 1, Node: "b1.dc2", From: "a1.dc1"})
	passedOn := message(t, suspectMessage, claim{Incarnation: 1, Node: "b2.dc2", From: "c1.dc3"})
	for _, alive := range []uint32{1, 1, 2, 2} {
		b := packet(own, passedOn, message(t, aliveMessage, claim{Incarnation: alive, Node: "a1.dc1"}))
		if _, err := o.WriteToAddress(b, memberlist.Address{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(under.sent) != 4 {
		t.Errorf("%d packets were sent, want 4", len(under.sent))
	}
	if n := testutil.ToFloat64(o.metrics.suspicions.WithLabelValues("dc2")); n != 1 {
		t.Errorf("%v suspicions, want 1", n)
	}
	if n := testutil.ToFloat64(o.metrics.refutations); n != 1 {
		t.Errorf("%v refutations, want 1", n)
	}
	if _, err := o.WriteToAddress(packet(message(t, indirectMessage, claim{Node: "b1.dc2"})), memberlist.Address{}); err != nil {
		t.Fatal(err)
	}
	if len(under.sent) != 6 {
		t.Errorf("a cry for help was sent %d times, want twice", len(under.sent)-4)
	}
}

func TestRememberedSuspicionsAreBounded(t *testing.T) {
	o, _ := watcher(t)
	for i := range 2 * rememberedClaims {
		o.judge(packet(message(t, suspectMessage, claim{Node: string(rune('a'+i%26)) + string(rune(i)), From: "x"})))
	}
	if n := len(o.suspects); n > rememberedClaims {
		t.Errorf("%d are remembered", n)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(packet([]byte{deadMessage, 0x83}, []byte{suspectMessage}))
	f.Add([]byte{labelMessage, 255})
	f.Add([]byte{compoundMessage, 255, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, _ := watcher(t)
		size := len(b)
		o.judge(b)
		if len(b) != size {
			t.Fatal("the packet has another size")
		}
	})
}

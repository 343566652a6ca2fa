package gossip

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
)

func testKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, 16) }

// disk is where a keyring is kept.
type disk struct {
	kept []byte
	err  error
}

func (d *disk) save(b []byte) error {
	if d.err == nil {
		d.kept = b
	}
	return d.err
}

func fills(keys [][]byte) string {
	var b strings.Builder
	for _, key := range keys {
		b.WriteByte('0' + key[0])
	}
	return b.String()
}

func TestAKeptKeyringCountsMoreThanTheConfiguredKey(t *testing.T) {
	var d disk
	k, err := OpenKeyring(nil, testKey(1), d.save)
	if err != nil || string(d.kept) != `["AQEBAQEBAQEBAQEBAQEBAQ=="]`+"\n" {
		t.Fatalf("kept %q, %v", d.kept, err)
	}
	if err := errors.Join(k.Change(InstallKey, testKey(2)), k.Change(UseKey, testKey(2))); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeyring(d.kept, testKey(3), d.save)
	if err != nil || fills(again.Keys()) != "21" || again.Has(testKey(3)) {
		t.Errorf("kept %q, read %q, %v", d.kept, fills(again.Keys()), err)
	}
	if none, err := OpenKeyring(nil, nil, d.save); none != nil || err != nil || len(none.Keys()) != 0 {
		t.Errorf("without any key: %v, %v", none, err)
	}
	if _, err := OpenKeyring(nil, []byte("short"), d.save); !errors.Is(err, ErrKeySize) {
		t.Errorf("a bad key: %v", err)
	}
}

func TestBrokenKeyringsAreRefusedAndNotShown(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "AQEBAQEBAQEBAQEBAQEBAQ==", "a word": `"AQEBAQEBAQEBAQEBAQEBAQ=="`, "no keys": `[]`, "cut short": `["AQEBAQEBAQEBAQEB`,
		"no base64": `["AQEBAQEBAQEBAQEBAQEBAQ==", "AQEBAQEBAQEBAQEBAQEBAQ!!"]`, "too short": `["AQEBAQ=="]`,
		"too many": `["` + strings.Repeat(`AQEBAQEBAQEBAQEBAQEBAQ==","`, MaxKeys) + `AQEBAQEBAQEBAQEBAQEBAQ=="]`,
	} {
		_, err := OpenKeyring([]byte(text), testKey(1), nil)
		if !errors.Is(err, ErrBadKeyring) || strings.Contains(err.Error(), "AQEB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAChangeIsMadeOnlyIfItIsKeptAndFollowed(t *testing.T) {
	var d disk
	k, err := OpenKeyring(nil, testKey(1), d.save)
	if err != nil {
		t.Fatal(err)
	}
	var seen string
	var refuse error
	if err := k.Follow(func(keys [][]byte) error {
		if refuse == nil {
			seen = fills(keys)
		}
		return refuse
	}); err != nil || seen != "1" {
		t.Fatalf("told %q at once, %v", seen, err)
	}
	if d.err = errors.New("disk is full"); !errors.Is(k.Change(InstallKey, testKey(2)), d.err) || fills(k.Keys()) != "1" || seen != "1" {
		t.Errorf("not kept, and the keys are %q, told %q", fills(k.Keys()), seen)
	}
	d.err = nil
	if refuse = errors.New("no"); !errors.Is(k.Change(InstallKey, testKey(2)), refuse) || fills(k.Keys()) != "1" {
		t.Errorf("not followed, and the keys are %q", fills(k.Keys()))
	}
	refuse = nil
	if err := k.Change(InstallKey, testKey(2)); err != nil || seen != "12" || fills(k.Keys()) != "12" {
		t.Errorf("told %q, keys %q, %v", seen, fills(k.Keys()), err)
	}
	// What Serf's own queries do to the list is found and followed.
	if err := k.ring.UseKey(testKey(2)); err != nil {
		t.Fatal(err)
	}
	if err := k.settle(); err != nil || seen != "21" {
		t.Errorf("told %q of what changed by itself, %v", seen, err)
	}
	if again, err := OpenKeyring(d.kept, nil, nil); err != nil || fills(again.Keys()) != "21" {
		t.Errorf("kept %q, %v", d.kept, err)
	}
}

func TestAFullKeyringTakesNoMore(t *testing.T) {
	k, err := NewKeyring(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxKeys - 1 {
		if err := k.Change(InstallKey, testKey(byte(i+2))); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Change(InstallKey, testKey(99)); !errors.Is(err, ErrManyKeys) {
		t.Errorf("one more: %v", err)
	}
	if err := k.Change(InstallKey, testKey(2)); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}

// Whatever is done, in whatever order, there is a key, each once, and the library's
// list is what was told.
func TestKeyringsStayWhole(t *testing.T) {
	actions := []KeyAction{InstallKey, UseKey, RemoveKey, InstallKey}
	if err := quick.Check(func(steps []byte) bool {
		k, err := NewKeyring(testKey(1))
		if err != nil {
			return false
		}
		var told string
		if k.Follow(func(keys [][]byte) error { told = fills(keys); return nil }) != nil {
			return false
		}
		for _, s := range steps {
			before := fills(k.Keys())
			a, key := actions[s%4], testKey(1+s/4%9)
			err := k.Change(a, key)
			after := fills(k.Keys())
			has, first := strings.Contains(after, fills([][]byte{key})), after[0] == '0'+key[0]
			switch {
			case err != nil && after != before, len(after) == 0 || len(after) > MaxKeys, len(told) != len(after) || told[0] != after[0]:
				return false
			case err == nil && (a == InstallKey && !has || a == UseKey && !first || a == RemoveKey && has):
				return false
			case a != UseKey && after[0] != before[0]:
				return false
			}
		}
		return true
	}, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

// Who decrypts while a key is removed sees no half of it: for the race detector.
func TestKeysAreReadWhileTheyChange(t *testing.T) {
	k, err := NewKeyring(testKey(1), testKey(2), testKey(3), testKey(4))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, key := range k.ring.GetKeys() {
					if len(key) != 16 || key[0] != key[15] {
						t.Error("half a key")
					}
				}
			}
		})
	}
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		for i := range 3 {
			if err := errors.Join(k.Change(RemoveKey, testKey(byte(i+2))), k.Change(InstallKey, testKey(byte(i+2)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	wg.Wait()
}

package resttest

import (
	"fmt"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// EntryA is how the key "a" of Keys is shown.
const EntryA = `{"LockIndex":0,"Key":"a","Flags":0,"Value":"b25l","CreateIndex":3,"ModifyIndex":4}`

// Keys are the answers of a datacenter with the keys "a" and "b/x", those below "many/",
// "empty", and "long", which is worth compressing. It refuses "lost", "busy" and
// "denied", each with the error of that name, panics at "panic", and writes anything
// that is not compared with index 99.
func Keys() map[string]any {
	listed := kv.Entries{
		{Key: "a", Value: []byte("one"), CreateIndex: 3, ModifyIndex: 4},
		{Key: "b/x", Value: []byte("<two>"), Flags: 42, LockIndex: 1, Session: "s", CreateIndex: 5, ModifyIndex: 6},
	}
	got := map[string]*kv.Entry{
		"a": &listed[0], "b/x": &listed[1],
		"empty": {Key: "empty", CreateIndex: 2, ModifyIndex: 2},
		"long":  {Key: "long", Value: []byte(strings.Repeat("z", 4000)), CreateIndex: 2, ModifyIndex: 2},
	}
	refused := map[string]error{
		"lost":   op.Errorf(op.CodeNoLeader, "No cluster leader"),
		"busy":   op.Errorf(op.CodeBusy, "too much"),
		"denied": op.Errorf(op.CodeDenied, "Permission denied: x"),
	}
	return map[string]any{
		kv.Get.Name: Answer(func(r *kv.GetRequest) (any, error) {
			if r.Key == "panic" {
				panic("asked for")
			}
			if e := got[r.Key]; e != nil {
				return e, nil
			}
			return nil, refused[r.Key]
		}),
		kv.List.Name: Answer(func(r *kv.ListRequest) (any, error) {
			if r.Prefix == "many/" {
				return ManyEntries(), nil
			}
			list := kv.Entries{}
			for _, e := range listed {
				if strings.HasPrefix(e.Key, r.Prefix) {
					list = append(list, e)
				}
			}
			return &list, nil
		}),
		kv.ListKeys.Name: Answer(func(r *kv.KeysRequest) (any, error) {
			list := kv.Keys{}
			for _, e := range listed {
				if strings.HasPrefix(e.Key, r.Prefix) {
					list = append(list, e.Key)
				}
			}
			return &list, nil
		}),
		kv.Apply.Name: Answer(func(r *kv.ApplyRequest) (any, error) {
			return &kv.ApplyResult{OK: r.Entry.ModifyIndex != 99, Index: Index + 1}, nil
		}),
	}
}

// ManyEntries are more than a server renders at once: 30 MB as JSON.
func ManyEntries() *kv.Entries {
	list := make(kv.Entries, 20000)
	for i := range list {
		list[i] = kv.Entry{Key: fmt.Sprintf("many/%05d", i), Value: make([]byte, 1000), CreateIndex: 3, ModifyIndex: uint64(i)}
	}
	return &list
}

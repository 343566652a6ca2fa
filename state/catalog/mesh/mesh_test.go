package mesh

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden encodings anew; only for a new field")

// fill sets every field to something else than nothing.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[FreeForm]() {
			v.SetBytes([]byte(`{"n":9007199254740993}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString(strings.Repeat("x", *n))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic(v.Type())
	}
}

type codec interface {
	MarshalMsg([]byte) ([]byte, error)
	UnmarshalMsg([]byte) ([]byte, error)
}

// What is said in any field comes back from the disk and from JSON, makes a
// difference, and is not nothing.
func TestEveryFieldCounts(t *testing.T) {
	check := func(full, empty codec, same func(codec) bool) {
		t.Helper()
		if same(empty) {
			t.Errorf("%T: nothing is the same as everything", full)
		}
		for name, again := range map[string]func() error{
			"MessagePack": func() error {
				b, err := full.MarshalMsg(nil)
				if err == nil {
					_, err = empty.UnmarshalMsg(b)
				}
				return err
			},
			"JSON": func() error {
				reflect.ValueOf(empty).Elem().SetZero()
				b, err := json.Marshal(full)
				if err == nil {
					err = json.Unmarshal(b, empty)
				}
				return err
			},
		} {
			if err := again(); err != nil || !same(empty) || !reflect.DeepEqual(full, empty) {
				t.Errorf("%s: %+v, %v, want %+v", name, empty, err, full)
			}
		}
	}
	var n int
	p, c, a, l := &Proxy{}, &Connect{}, &AI{}, &Locality{}
	for _, v := range []any{p, c, a, l} {
		fill(reflect.ValueOf(v).Elem(), &n)
	}
	check(p, &Proxy{}, func(o codec) bool { return Same(p, o.(*Proxy)) })
	check(c, &Connect{}, func(o codec) bool { return Same(c, o.(*Connect)) })
	check(a, &AI{}, func(o codec) bool { return Same(a, o.(*AI)) })
	check(l, &Locality{}, func(o codec) bool { return Same(l, o.(*Locality)) })
	fields := reflect.ValueOf(p).Elem()
	for i := range fields.NumField() {
		var one Proxy
		reflect.ValueOf(&one).Elem().Field(i).Set(fields.Field(i))
		if one.IsZero() {
			t.Errorf("a proxy with %s alone is taken for none", fields.Type().Field(i).Name)
		}
	}
}

// What is in logs and snapshots must stay readable: a change here is a change of
// the format. New fields change nothing where they are empty.
func TestEncodingsDoNotChange(t *testing.T) {
	var out strings.Builder
	for _, v := range []codec{&Proxy{}, &Connect{}, &AI{}, &Locality{}} {
		n := 0
		fill(reflect.ValueOf(v).Elem(), &n)
		b, err := v.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%T %x\n", v, b)
	}
	const file = "testdata/records.golden"
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || out.String() != string(want) {
		t.Errorf("encodings differ from %s: %v\n%s", file, err, out.String())
	}
}

// Lists without entries are stored as none: they must not look like a change.
func TestEmptyIsNothing(t *testing.T) {
	if p := (&Proxy{Upstreams: []Upstream{}, EnvoyExtensions: []EnvoyExtension{}}); !p.IsZero() || !Same(p, &Proxy{}) {
		t.Error("empty lists are something")
	}
	if Same(&Locality{}, nil) || !Same[Locality](nil, nil) {
		t.Error("a place that says nothing is no place")
	}
}

func TestFreeFormHasOneForm(t *testing.T) {
	for text, want := range map[string]string{
		` { "b" : 1.0, "a" : [ 1e400, -0, 123456789012345678901 ] } `: `{"a":[1e400,-0,123456789012345678901],"b":1.0}`,
		`{}`:                       `{}`,
		`null`:                     `null`,
		`{"a":1,"a":2}`:            `{"a":2}`,
		`{"x":"\u00e9<","y":null}`: `{"x":"é\u003c","y":null}`,
	} {
		f, err := NewFreeForm([]byte(text))
		b, _ := json.Marshal(f)
		if err != nil || string(b) != want {
			t.Errorf("%s: %s, %v, want %s", text, b, err, want)
		}
	}
	for _, text := range []string{``, `[]`, `1`, `"x"`, `{} {}`, `{"a":}`} {
		if f, err := NewFreeForm([]byte(text)); err == nil {
			t.Errorf("%s: %s", text, f)
		}
	}
}

func TestPorts(t *testing.T) {
	good := Ports{{"http", 80, true}, {"grpc", 81, false}}
	if err := good.Valid(); err != nil {
		t.Error(err)
	}
	if p, ok := good.Named("GRPC"); !ok || p != 81 || good.Main() != 80 {
		t.Errorf("%d %t %d", p, ok, good.Main())
	}
	if _, ok := good.Named("x"); ok || Ports(nil).Main() != 0 || Ports(nil).Valid() != nil {
		t.Error("there is no such port")
	}
	many := make(Ports, MaxPorts+1)
	for what, ps := range map[string]Ports{
		"cannot be empty":       {{" ", 80, true}},
		"want 1 to 65535":       {{"a", 0, true}},
		"want 1 to":             {{"a", 65536, true}},
		"has to be unique":      {{"a", 1, true}, {"a", 2, false}},
		"must be marked":        {{"a", 1, false}},
		"only one of the Ports": {{"a", 1, true}, {"b", 2, true}},
		"more than":             many,
		"longer than":           {{strings.Repeat("x", 200), 1, true}},
	} {
		if err := ps.Valid(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What comes from another agent is text that is in the form, and not too much.
func TestWhatIsInvalid(t *testing.T) {
	for what, p := range map[string]Proxy{
		"not in its form": {Config: FreeForm(`{ "a":1}`)},
		"no JSON":         {Upstreams: []Upstream{{Config: FreeForm(`{`)}}},
		"of an extension": {EnvoyExtensions: []EnvoyExtension{{Arguments: FreeForm(`[]`)}}},
		"too large":       {LocalServiceAddress: strings.Repeat("x", MaxSize)},
	} {
		if Valid(&p, &Connect{}, nil) == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if Valid(&Proxy{}, &Connect{SidecarService: FreeForm(`x`)}, nil) == nil {
		t.Error("a sidecar that is no JSON is taken")
	}
	if err := Valid(&Proxy{Config: FreeForm(`{"a":1}`)}, &Connect{}, &AI{}); err != nil {
		t.Error(err)
	}
}

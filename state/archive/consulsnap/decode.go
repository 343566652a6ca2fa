package consulsnap

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/state/catalog/mesh"
)

// maxElements bounds the elements of a list or map: one of them may take much
// more memory than its bytes.
const maxElements = 1 << 16

var (
	errShape = errors.New("it has another form than expected")
	freeForm = reflect.TypeFor[mesh.FreeForm]()
	timeType = reflect.TypeFor[time.Time]()
)

// decoder brings MessagePack into structs, by the names of their fields. Nothing
// (nil) is the zero value of everything.
type decoder struct {
	b []byte
	// lost is told of fields that the struct has not and that say something.
	lost func(path string)
}

// decode decodes a value that nothing follows. Its nesting is bounded by who read
// it.
func decode(b []byte, into any, lost func(string)) error {
	rest, err := decodeSome(b, into, lost)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes follow it", errShape, len(rest))
	}
	return err
}

// decodeSome also returns what follows the value.
func decodeSome(b []byte, into any, lost func(string)) ([]byte, error) {
	d := &decoder{b: b, lost: lost}
	err := d.value(reflect.ValueOf(into).Elem(), "")
	return d.b, err
}

func (d *decoder) value(v reflect.Value, path string) (err error) {
	if len(d.b) == 0 {
		return msgp.ErrShortBytes
	}
	if msgp.IsNil(d.b) {
		v.SetZero()
		d.b, err = msgp.ReadNilBytes(d.b)
		return err
	}
	switch v.Type() {
	case freeForm:
		return d.free(v, path)
	case timeType:
		return d.time(v, path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.fields(v, path)
	case reflect.Map:
		return d.entries(v, path)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return d.elements(v, path)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem(), path)
	}
	if err := d.scalar(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (d *decoder) scalar(v reflect.Value) (err error) {
	switch v.Kind() {
	case reflect.String:
		var text []byte
		text, err = d.text()
		v.SetString(string(text))
	case reflect.Slice:
		var text []byte
		text, err = d.text()
		v.SetBytes(bytes.Clone(text))
	case reflect.Bool:
		var is bool
		is, d.b, err = msgp.ReadBoolBytes(d.b)
		v.SetBool(is)
	case reflect.Int, reflect.Int64:
		err = d.signed(v)
	case reflect.Uint64:
		var n uint64
		n, d.b, err = msgp.ReadUint64Bytes(d.b)
		v.SetUint(n)
	case reflect.Float64:
		var f float64
		f, d.b, err = msgp.ReadFloat64Bytes(d.b)
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("consulsnap: no decoding into %v", v.Type()))
	}
	return err
}

// signed takes a number, or a time in words as early versions wrote it.
func (d *decoder) signed(v reflect.Value) (err error) {
	var n int64
	if msgp.NextType(d.b) == msgp.StrType {
		var text []byte
		if text, err = d.text(); err != nil || len(text) == 0 {
			return err
		}
		t, err := time.ParseDuration(string(text))
		v.SetInt(int64(t))
		return err
	}
	n, d.b, err = msgp.ReadInt64Bytes(d.b)
	v.SetInt(n)
	return err
}

// time takes a time in the form of time.Time.MarshalBinary.
func (d *decoder) time(v reflect.Value, path string) error {
	b, err := d.text()
	var t time.Time
	if err == nil {
		err = t.UnmarshalBinary(b)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: it is no time", path, errShape)
	}
	v.Set(reflect.ValueOf(t.UTC()))
	return nil
}

// text reads text or bytes; it aliases what is decoded.
func (d *decoder) text() (text []byte, err error) {
	if msgp.NextType(d.b) == msgp.BinType {
		text, d.b, err = msgp.ReadBytesZC(d.b)
	} else {
		text, d.b, err = msgp.ReadStringZC(d.b)
	}
	return text, err
}

// count reads how many elements a list or map has.
func (d *decoder) count(path string, read func([]byte) (uint32, []byte, error)) (n int, err error) {
	size, rest, err := read(d.b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if size > maxElements {
		return 0, fmt.Errorf("%s: %w: %d elements, %d are allowed", path, errShape, size, maxElements)
	}
	d.b = rest
	return int(size), nil
}

func (d *decoder) fields(v reflect.Value, path string) error {
	n, err := d.count(path, msgp.ReadMapHeaderBytes)
	for ; n > 0 && err == nil; n-- {
		var name []byte
		if name, err = d.text(); err != nil {
			return fmt.Errorf("%s: a field: %w", path, err)
		}
		at := joined(path, string(name))
		if f := v.FieldByName(string(name)); f.IsValid() && f.CanSet() {
			err = d.value(f, at)
		} else {
			err = d.pass(at)
		}
	}
	return err
}

func joined(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// next returns the next value as it stands.
func (d *decoder) next(path string) ([]byte, error) {
	rest, err := msgp.Skip(d.b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	value := d.b[:len(d.b)-len(rest)]
	d.b = rest
	return value, nil
}

// pass goes past a value, and tells if it says something.
func (d *decoder) pass(path string) error {
	value, err := d.next(path)
	if err == nil && d.lost != nil && says(value) {
		d.lost(path)
	}
	return err
}

// says reports whether a value is more than zero values: some byte is none of
// nil, false, 0, an empty text, list or map. Maps of such count by their values.
func says(b []byte) bool {
	for len(b) > 0 {
		switch lead := b[0]; {
		case lead == 0xc0 || lead == 0xc2 || lead == 0 || lead == 0xa0 || lead == 0x80 || lead == 0x90:
			b = b[1:]
		case lead&0xf0 == 0x80 || lead == 0xde:
			n, rest, err := msgp.ReadMapHeaderBytes(b)
			for ; n > 0 && err == nil; n-- {
				if _, rest, err = msgp.ReadStringZC(rest); err != nil {
					return true
				}
				value := rest
				if rest, err = msgp.Skip(rest); err != nil || says(value[:len(value)-len(rest)]) {
					return true
				}
			}
			return err != nil
		default:
			return true
		}
	}
	return false
}

func (d *decoder) entries(v reflect.Value, path string) error {
	n, err := d.count(path, msgp.ReadMapHeaderBytes)
	if err != nil {
		return err
	}
	made := reflect.MakeMapWithSize(v.Type(), min(n, len(d.b)))
	for ; n > 0; n-- {
		key, err := d.text()
		if err != nil {
			return fmt.Errorf("%s: a key: %w", path, err)
		}
		element := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(element, path); err != nil {
			return err
		}
		made.SetMapIndex(reflect.ValueOf(string(key)), element)
	}
	v.Set(made)
	return nil
}

func (d *decoder) elements(v reflect.Value, path string) error {
	n, err := d.count(path, msgp.ReadArrayHeaderBytes)
	if err != nil {
		return err
	}
	list := reflect.MakeSlice(v.Type(), 0, min(n, 16)) // grows with what has come
	for ; n > 0; n-- {
		element := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(element, path); err != nil {
			return err
		}
		list = reflect.Append(list, element)
	}
	v.Set(list)
	return nil
}

// free takes an object that only its user knows.
func (d *decoder) free(v reflect.Value, path string) error {
	value, err := d.next(path)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := msgp.UnmarshalAsJSON(&text, value); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	form, err := mesh.NewFreeForm(text.Bytes())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	v.SetBytes(form)
	return nil
}

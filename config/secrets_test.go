package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const testSecret = "S3CRET"

// fillSecrets puts testSecret into each key below v that is marked as secret, makes
// one element of each list of blocks, and returns how many keys it filled.
func fillSecrets(t *testing.T, v reflect.Value, above marks) (filled int) {
	t.Helper()
	for _, f := range fieldsOf(v.Type(), above) {
		value := v.Field(f.index)
		switch {
		case isDuration(f.typ):
		case isBlock(f.typ):
			filled += fillSecrets(t, value, f.marks)
		case value.Kind() == reflect.Pointer && isBlock(f.typ.Elem()):
			value.Set(reflect.New(f.typ.Elem()))
			filled += fillSecrets(t, value.Elem(), f.marks)
		case isBlockList(f.typ):
			if f.typ.Elem() == v.Type() { // one within itself
				continue
			}
			value.Set(reflect.MakeSlice(f.typ, 1, 1))
			filled += fillSecrets(t, value.Index(0), f.marks)
		case f.marks.secret:
			value.Set(secretOf(t, f.typ))
			filled++
		}
	}
	return filled
}

func secretOf(t *testing.T, typ reflect.Type) reflect.Value {
	t.Helper()
	for _, v := range []any{testSecret, []byte(testSecret), map[string]string{"k": testSecret}, map[string][]string{"k": {testSecret}}, []string{testSecret}} {
		if reflect.TypeOf(v).AssignableTo(typ) {
			return reflect.ValueOf(v)
		}
	}
	t.Fatalf("the test does not know how to make a secret %s", typ)
	return reflect.Value{}
}

// What people look at, send with a report or find in an archive of legate debug
// is made of Settings.
func TestNoSecretKeyIsShown(t *testing.T) {
	var c Config
	filled := fillSecrets(t, reflect.ValueOf(&c).Elem(), marks{})
	if filled < 12 {
		t.Errorf("only %d secret keys were found", filled)
	}
	text, err := json.Marshal(c.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{testSecret, "UzNDUkVU"} { // as text, in base64
		if strings.Contains(string(text), form) {
			t.Errorf("%s is shown in %s", form, text)
		}
	}
	if n := strings.Count(string(text), `"`+hidden+`"`); n != filled {
		t.Errorf("%d keys show that they are set, of %d", n, filled)
	}
}

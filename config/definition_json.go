package config

import (
	"errors"
	"fmt"
	"reflect"
)

// ServiceFromJSON reads the definition of a service as clients of the HTTP API
// send it: keys in CamelCase or snake_case, durations as text or as
// nanoseconds, unknown keys passed over. An error names the key that is wrong.
// Only the form is checked, not whether the definition makes sense.
func ServiceFromJSON(b []byte) (*ServiceDefinition, error) {
	def := new(ServiceDefinition)
	return def, definitionFromJSON(b, reflect.ValueOf(def).Elem())
}

// CheckFromJSON reads the definition of a check as ServiceFromJSON does.
func CheckFromJSON(b []byte) (*CheckDefinition, error) {
	def := new(CheckDefinition)
	return def, definitionFromJSON(b, reflect.ValueOf(def).Elem())
}

func definitionFromJSON(b []byte, v reflect.Value) error {
	if deep(b) {
		return fmt.Errorf("nested deeper than %d", maxNesting)
	}
	tree, err := parseJSON(b)
	if err != nil {
		return err
	}
	dropEmptyCheck(tree)
	setDefaults(v)
	d := &decoder{lenient: true, set: map[string]string{}}
	d.block("", tree, v, marks{names: true})
	return errors.Join(d.faults...)
}

// dropEmptyCheck takes away a check that says nothing: some clients send one
// with each service that has none.
func dropEmptyCheck(service map[string]any) {
	for key, v := range service {
		check, ok := v.(map[string]any)
		if !ok || fold(key, true) != fold("check", true) {
			continue
		}
		said := false
		for _, v := range check {
			said = said || v != nil && v != ""
		}
		if !said {
			delete(service, key)
		}
	}
}

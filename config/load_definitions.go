package config

import (
	"errors"
	"reflect"
)

// Definitions reads services and checks from files as Load does, ignores
// every other key that is known, and fills in nothing that belongs to an
// agent. Scripts are not refused: the agent that they go to decides.
func Definitions(src Sources) ([]ServiceDefinition, []CheckDefinition, error) {
	cfg := &Config{}
	v := reflect.ValueOf(cfg).Elem()
	setDefaults(v)
	d := &decoder{set: map[string]string{}}
	d.readPaths(src.Paths, src.Format, v)
	cfg.EnableScriptChecks = true
	f := &finisher{cfg: cfg, set: d.set, faults: d.faults}
	f.checkDefinitions()
	if err := errors.Join(f.faults...); err != nil {
		return nil, nil, err
	}
	return cfg.Services, cfg.Checks, nil
}

// Package method knows the types of auth methods: what a configuration of each has
// to say, what is known of who logs in by it, and how names are made of that.
//
// It is pure. It reads configurations and refuses those that cannot work; it asks no
// network, verifies no credential, and knows no records.
package method

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// The types that can be used.
const (
	JWT        = "jwt"
	Kubernetes = "kubernetes"
)

// Config is what the configuration of a method says, checked: *JWTConfig or
// *KubernetesConfig.
type Config interface {
	// Blank is somebody of whom nothing is known: with all that selectors can ask for
	// and all variables, empty, but with one text in each list.
	Blank() *Identity
}

var (
	_ Config = (*JWTConfig)(nil)
	_ Config = (*KubernetesConfig)(nil)
)

// Identity is what is known of who logs in.
type Identity struct {
	// Fields are what selectors ask for.
	Fields any
	// Variables are what names are made of.
	Variables map[string]string
}

// Missing is the first of what a selector asks for that nobody who logs in by the method
// can have, "" for none. That is no error when it is evaluated: a condition that
// something is not so would be true for everybody.
func (id *Identity) Missing(paths [][]string) string {
	claims, ok := id.Fields.(*Claims)
	if !ok { // their fields are fixed
		return ""
	}
	for _, p := range paths {
		known := true
		if len(p) > 1 && p[0] == "value" {
			_, known = claims.Values[p[1]]
		} else if len(p) > 1 && p[0] == "list" {
			_, known = claims.Lists[p[1]]
		}
		if !known {
			return strings.Join(p, ".")
		}
	}
	return ""
}

// Parse reads the configuration of a method of a type: a JSON object whose keys are
// those that Consul documents. Errors say which key is wrong and hold no secret.
func Parse(kind string, raw []byte) (Config, error) {
	switch kind {
	case JWT:
		return parseJWT(raw)
	case Kubernetes:
		return parseKubernetes(raw)
	case "oidc":
		return nil, errors.New("the Type oidc needs Consul Enterprise: use jwt, for who has a token of the provider already")
	case "aws-iam":
		return nil, errors.New("the Type aws-iam is not supported: use jwt or kubernetes")
	}
	return nil, fmt.Errorf("Type should be one of '%s' or '%s', it is %.64q", JWT, Kubernetes, kind)
}

// decode reads an object into v and refuses keys that v does not have.
func decode(raw []byte, v any) error {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return errors.New("Config has to be an object")
	case errors.As(err, &wrong):
		return fmt.Errorf("Config: %s has a value of the wrong kind", wrong.Field)
	case err != nil:
		return fmt.Errorf("Config: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("Config: something follows the object")
	}
	return nil
}

// Duration is a time in JSON: a text with a unit, or a number of nanoseconds.
type Duration time.Duration

// maxLeeway bounds how far clocks may be apart.
const maxLeeway = 24 * time.Hour

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		if text == "" {
			return nil
		}
		v, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%.64q is no duration: give one like 150s", text)
		}
		*d = Duration(v)
		return nil
	}
	var n int64
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("a duration is a text like 150s, or a number of nanoseconds")
	}
	*d = Duration(n)
	return nil
}

// checkURL refuses what nothing can be fetched from.
func checkURL(key, text string, schemes ...string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("Config: %s is no URL with a host", key)
	case u.User != nil:
		return fmt.Errorf("Config: %s must not hold a user or a password", key)
	case u.Fragment != "":
		return fmt.Errorf("Config: %s must not have a fragment", key)
	}
	for _, s := range schemes {
		if u.Scheme == s {
			return nil
		}
	}
	return fmt.Errorf("Config: %s has to begin with %s://", key, strings.Join(schemes, ":// or "))
}

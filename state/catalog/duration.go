package catalog

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Duration is a time.Duration that JSON shows as text ("10s") and reads as
// text or as nanoseconds.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case float64:
		if v <= math.MinInt64 || v >= math.MaxInt64 {
			return fmt.Errorf("invalid duration %v: more nanoseconds than can be counted", v)
		}
		*d = Duration(v)
	case string:
		if v == "" {
			return nil
		}
		t, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("invalid duration %.64q: use a number with a unit, such as 10s", v)
		}
		*d = Duration(t)
	default:
		return fmt.Errorf("invalid duration %.64s: use text such as \"10s\"", b)
	}
	return nil
}

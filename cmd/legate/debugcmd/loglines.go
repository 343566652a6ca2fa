package debugcmd

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// logLine is a line of an agent's log, in whichever form it was written.
type logLine struct {
	at                              time.Time
	level, component, node, message string
	attrs                           map[string]string
}

// parseLine reads a line of slog's text, of JSON, or of what monitor shows; false
// if it is none of these.
func parseLine(line string) (logLine, bool) {
	switch {
	case strings.HasPrefix(line, "{"):
		return parseJSONLine(line)
	case strings.HasPrefix(line, "time="):
		l := logLine{attrs: pairs(line)}
		return l.named(map[string]string{"time": "time", "level": "level", "message": "msg", "component": "component"})
	}
	stamp, rest, ok := strings.Cut(line, " [")
	level, rest, ok2 := strings.Cut(rest, "]")
	if !ok || !ok2 {
		return logLine{}, false
	}
	rest = strings.TrimSpace(rest)
	component, said, ok := strings.Cut(rest, ": ")
	if !ok {
		component, said = "", rest
	}
	message, attrs, _ := strings.Cut(said, ": node=")
	l := logLine{attrs: map[string]string{}}
	if attrs != "" {
		l.attrs = pairs("node=" + attrs)
	}
	l.attrs["time"], l.attrs["level"], l.attrs["msg"], l.attrs["component"] = stamp, level, message, component
	return l.named(map[string]string{"time": "time", "level": "level", "message": "msg", "component": "component"})
}

func parseJSONLine(line string) (logLine, bool) {
	var values map[string]any
	if json.Unmarshal([]byte(line), &values) != nil {
		return logLine{}, false
	}
	l := logLine{attrs: map[string]string{}}
	for k, v := range values {
		if n, ok := v.(float64); ok {
			l.attrs[k] = strconv.FormatFloat(n, 'f', -1, 64)
			continue
		}
		l.attrs[k] = fmt.Sprint(v)
	}
	if _, ok := values["@message"]; ok {
		return l.named(map[string]string{"time": "@timestamp", "level": "@level", "message": "@message", "component": "@module"})
	}
	return l.named(map[string]string{"time": "time", "level": "level", "message": "msg", "component": "component"})
}

// named takes the usual keys out of the attributes.
func (l logLine) named(keys map[string]string) (logLine, bool) {
	take := func(what string) string {
		v := l.attrs[keys[what]]
		delete(l.attrs, keys[what])
		return v
	}
	var err error
	if l.at, err = time.Parse(time.RFC3339Nano, take("time")); err != nil {
		return logLine{}, false
	}
	l.level, l.message, l.component = strings.ToUpper(take("level")), take("message"), take("component")
	l.node = l.attrs["node"]
	return l, l.message != ""
}

// duration is an attribute that is one; JSON has nanoseconds.
func (l logLine) duration(key string) time.Duration {
	text := l.attrs[key]
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	n, _ := strconv.ParseInt(text, 10, 64) // else it has none
	return time.Duration(n)
}

// pairs reads key=value, where a value may be quoted.
func pairs(text string) map[string]string {
	found := map[string]string{}
	for text != "" {
		key, rest, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		key = strings.TrimSpace(key)
		value := ""
		if quoted, err := strconv.QuotedPrefix(rest); err == nil && strings.HasPrefix(rest, `"`) {
			value, _ = strconv.Unquote(quoted)
			text = strings.TrimPrefix(rest[len(quoted):], " ")
		} else {
			value, text, _ = strings.Cut(rest, " ")
		}
		found[key] = value
	}
	return found
}

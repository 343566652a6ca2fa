package query

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// Bounds of templates. The program bounds what one match costs: bytes of the
// name times instructions.
const (
	maxRegexp  = 512  // bytes
	maxProgram = 4096 // instructions of a compiled expression
	maxMade    = 4096 // bytes of a text after interpolation
	maxGroup   = 1000 // of match(N)
)

// template is a query of which a name makes another.
type template struct {
	query   *Query
	matches *regexp.Regexp // nil without one
}

// compile returns the template, or an error that says what is wrong with it.
func compile(q *Query) (*template, error) {
	t := &template{query: q}
	if q.Template.Type != NamePrefixMatch {
		return nil, fmt.Errorf("Bad Template.Type '%s': use %s", q.Template.Type, NamePrefixMatch)
	}
	if q.Template.Regexp != "" {
		re, err := expression(q.Template.Regexp)
		if err != nil {
			return nil, fmt.Errorf("Bad Template.Regexp: %w", err)
		}
		t.matches = re
	}
	_, err := q.Service.mapped(func(text string) (string, error) {
		_, err := parts(text)
		return text, err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// expression compiles one that is bounded.
func expression(text string) (*regexp.Regexp, error) {
	if len(text) > maxRegexp {
		return nil, fmt.Errorf("longer than %d bytes", maxRegexp)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst) > maxProgram {
		return nil, errors.New("too many repetitions or alternatives")
	}
	return regexp.Compile(text)
}

// render returns the query that the template is for a name.
func (t *template) render(name string) (*Query, error) {
	q := *t.query
	if len(q.Name) > len(name) {
		return nil, fmt.Errorf("the name %q does not begin with that of the template, %q", name, q.Name)
	}
	var groups []string
	if t.matches != nil {
		groups = t.matches.FindStringSubmatch(name)
	}
	value := func(p part) string {
		switch p.what {
		case isFull:
			return name
		case isPrefix:
			return q.Name
		case isSuffix:
			return name[len(q.Name):]
		case isMatch:
			if p.group < len(groups) {
				return groups[p.group]
			}
			return ""
		case isSegment: // there are no network segments
			return ""
		}
		return p.text
	}
	s, err := q.Service.mapped(func(text string) (string, error) {
		list, err := parts(text)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		for _, p := range list {
			b.WriteString(value(p))
		}
		if b.Len() > maxMade {
			return "", fmt.Errorf("'%.32s…' becomes longer than %d bytes", text, maxMade)
		}
		return b.String(), nil
	})
	if err != nil {
		return nil, err
	}
	if q.Template.RemoveEmptyTags {
		s.Tags = slices.DeleteFunc(s.Tags, func(tag string) bool { return tag == "" })
	}
	q.Service = *s
	return &q, nil
}

// mapped returns a copy with f of every text that may be interpolated.
func (s *Service) mapped(f func(string) (string, error)) (*Service, error) {
	out := *s
	var failed error
	one := func(p *string) {
		made, err := f(*p)
		if err != nil && failed == nil {
			failed = err
		}
		*p = made
	}
	for _, p := range []*string{&out.Service, &out.Near, &out.Peer} {
		one(p)
	}
	for _, list := range []*[]string{&out.Failover.Datacenters, &out.IgnoreCheckIDs, &out.Tags} {
		*list = slices.Clone(*list)
		for i := range *list {
			one(&(*list)[i])
		}
	}
	out.Failover.Targets = slices.Clone(out.Failover.Targets)
	for i := range out.Failover.Targets {
		one(&out.Failover.Targets[i].Datacenter)
		one(&out.Failover.Targets[i].Peer)
	}
	for _, m := range []*map[string]string{&out.NodeMeta, &out.ServiceMeta} {
		if *m == nil {
			continue
		}
		made := make(map[string]string, len(*m))
		for key, value := range *m {
			one(&value)
			made[key] = value
		}
		*m = made
	}
	return &out, failed
}

// what a part of a text is.
type what uint8

const (
	isText what = iota
	isFull
	isPrefix
	isSuffix
	isMatch
	isSegment
)

// part of a text: something literal, or what a name puts in.
type part struct {
	what  what
	text  string
	group int // of isMatch
}

// parts splits a text at its interpolations. "$${" stands for "${".
func parts(text string) ([]part, error) {
	const open, escaped = "${", "$${"
	var out []part
	for rest := text; rest != ""; {
		i := strings.Index(rest, open)
		if i < 0 {
			return append(out, part{text: rest}), nil
		}
		if i > 0 && strings.HasPrefix(rest[i-1:], escaped) {
			out = append(out, part{text: rest[:i-1] + open})
			rest = rest[i+len(open):]
			continue
		}
		out = append(out, part{text: rest[:i]})
		inside, after, closed := strings.Cut(rest[i+len(open):], "}")
		if !closed {
			return nil, fmt.Errorf("'%s': an interpolation has no end", text)
		}
		p, err := meaning(strings.TrimSpace(inside))
		if err != nil {
			return nil, fmt.Errorf("'%s': %w", text, err)
		}
		out, rest = append(out, p), after
	}
	return out, nil
}

// meaning of what stands between the braces.
func meaning(inside string) (part, error) {
	switch inside {
	case "name.full":
		return part{what: isFull}, nil
	case "name.prefix":
		return part{what: isPrefix}, nil
	case "name.suffix":
		return part{what: isSuffix}, nil
	case "agent.segment":
		return part{what: isSegment}, nil
	}
	if arg, ok := strings.CutPrefix(inside, "match("); ok {
		if arg, ok = strings.CutSuffix(arg, ")"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(arg))
			if err != nil || n < 0 || n > maxGroup {
				return part{}, fmt.Errorf("${%s}: want the number of a group, 0 to %d", inside, maxGroup)
			}
			return part{what: isMatch, group: n}, nil
		}
	}
	return part{}, fmt.Errorf("${%s} is unknown: use name.full, name.prefix, name.suffix, match(N) or agent.segment", inside)
}

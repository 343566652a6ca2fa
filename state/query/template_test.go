package query

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func templated(text string) *Query {
	return &Query{Name: "geo-", Template: Template{Type: NamePrefixMatch, Regexp: `^geo-(.*?)-([^\-]+?)$`}, Service: Service{Service: text}}
}

// TestInterpolation: one row is a text with what geo-db-Customer-primary makes of
// it.
func TestInterpolation(t *testing.T) {
	const name = "geo-db-Customer-primary"
	for text, want := range map[string]string{
		"plain":                             "plain",
		"${name.full}":                      name,
		"${name.prefix}|${name.suffix}":     "geo-|db-Customer-primary",
		"${match(0)}":                       name,
		"mysql-${ match( 1 ) }-${match(2)}": "mysql-db-Customer-primary",
		"a${match(3)}b${match(1000)}":       "ab",
		"x${agent.segment}":                 "x",
		"$${name.full}":                     "${name.full}",
		"$$${name.full}":                    "$${name.full}",
		"$ {x} } ${name.prefix}}":           "$ {x} } geo-}",
		"cost: 5$":                          "cost: 5$",
	} {
		tmpl, err := compile(templated(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		q, err := tmpl.render(name)
		if err != nil || q.Service.Service != want {
			t.Errorf("%s becomes %q, %v; want %q", text, q.Service.Service, err, want)
		}
	}
}

func TestEveryTextOfTheServiceIsInterpolated(t *testing.T) {
	q := templated("")
	const in, out = "<${name.suffix}>", "<x>"
	q.Service = Service{Service: in, Near: in, IgnoreCheckIDs: []string{in}, Tags: []string{in, "${match(1)}", "!" + in},
		NodeMeta: map[string]string{"k": in}, ServiceMeta: map[string]string{"k": in},
		Failover: Failover{Datacenters: []string{in}, Targets: []Target{{Datacenter: in}}}}
	q.Template.RemoveEmptyTags = true
	tmpl, err := compile(q)
	if err != nil {
		t.Fatal(err)
	}
	made, err := tmpl.render("geo-x")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%+v", Service{Service: out, Near: out, IgnoreCheckIDs: []string{out}, Tags: []string{out, "!" + out},
		NodeMeta: map[string]string{"k": out}, ServiceMeta: map[string]string{"k": out},
		Failover: Failover{Datacenters: []string{out}, Targets: []Target{{Datacenter: out}}}})
	if got := fmt.Sprintf("%+v", made.Service); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if q.Service.Tags[0] != in || q.Service.NodeMeta["k"] != in {
		t.Errorf("the template itself has become %+v", q.Service)
	}
}

// TestRefusedTemplates: one row is a template with a part of the error.
func TestRefusedTemplates(t *testing.T) {
	for want, q := range map[string]*Query{
		"use name_prefix_match":       {Template: Template{Type: "other"}},
		"missing closing )":           {Template: Template{Type: NamePrefixMatch, Regexp: "("}},
		"longer than 512 bytes":       {Template: Template{Type: NamePrefixMatch, Regexp: strings.Repeat("a", 513)}},
		"too many repetitions":        {Template: Template{Type: NamePrefixMatch, Regexp: strings.Repeat(`\pL{1000}`, 50)}},
		"has no end":                  templated("${name.full"),
		"${} is unknown":              templated("a${}"),
		"${name} is unknown":          templated("${name}"),
		"${match} is unknown":         templated("${match}"),
		"${match(1} is unknown":       templated("${match(1}"),
		"number of a group":           templated("${match(-1)}"),
		"group, 0 to 1000":            templated("${match(1001)}"),
		"number of a group, 0":        templated("${match(99999999999999999999)}"),
		"${name.full + 1} is unknown": templated("${name.full + 1}"),
	} {
		if _, err := compile(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestWhatATemplateMakesIsBounded(t *testing.T) {
	q := templated(strings.Repeat("${name.full}", 80))
	tmpl, err := compile(q)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := tmpl.render("geo-" + strings.Repeat("x", 400)); err == nil {
		t.Errorf("a text of %d bytes was made", len(made.Service.Service))
	}
}

// Whatever a client writes into a template and asks of it, it is refused or
// makes a query within the bounds.
func FuzzTemplate(f *testing.F) {
	f.Add("geo-", "geo-db-x", `^geo-(.*)$`, "${match(1)}$${x}", "!${name.suffix}")
	f.Add("", "\xff\x00", `(?i)(a|b)*?`, "${", "$$${name.full}")
	f.Add("İ", "i̇x", "", "${name.suffix}", "")
	f.Fuzz(func(t *testing.T, prefix, name, expression, service, tag string) {
		q := &Query{Name: prefix, Template: Template{Type: NamePrefixMatch, Regexp: expression, RemoveEmptyTags: true},
			Service: Service{Service: service, Tags: []string{tag}}}
		if prepare(q) != nil || len(name) > maxAsked {
			return
		}
		tmpl, err := compile(q)
		if err != nil {
			t.Fatalf("prepare lets pass what does not compile: %v", err)
		}
		begins := strings.HasPrefix(folded(name), folded(prefix))
		made, err := tmpl.render(name)
		if err != nil {
			return
		}
		if len(made.Service.Service) > maxMade || slices.Contains(made.Service.Tags, "") {
			t.Fatalf("%q of %q made %+v", name, service, made.Service)
		}
		if begins && service == "${name.prefix}${name.suffix}" && !strings.EqualFold(folded(made.Service.Service), folded(name)) && utf8.ValidString(name) {
			t.Fatalf("the parts of %q are %q", name, made.Service.Service)
		}
	})
}

func TestFoldingKeepsTheLength(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "AbZ-1": "abz-1", "İK": "İk", "\xffA": "\xffa"} {
		if got := folded(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseCloudJoin(t *testing.T) {
	for _, c := range []struct {
		entry, provider string
		args            map[string]string
		err             string
	}{
		{entry: `provider=aws tag_key=role tag_value=legate`, provider: "aws", args: map[string]string{"tag_key": "role", "tag_value": "legate"}},
		{entry: `  provider=mdns   service="_legate._tcp"	v6=false `, provider: "mdns", args: map[string]string{"service": "_legate._tcp", "v6": "false"}},
		{entry: `provider=azure secret_access_key="a=b c\"d\\e"`, provider: "azure", args: map[string]string{"secret_access_key": `a=b c"d\e`}},
		{entry: `provider=aws "tag key"=x`, provider: "aws", args: map[string]string{"tag key": "x"}},
		{entry: `provider=nimbus a=b`, err: `unknown provider "nimbus": built in are aws, azure`},
		{entry: `provider=k8s label_selector="app=x"`, err: `headless service`},
		{entry: `provider=`, err: `provider has no value`},
		{entry: `provider=aws tag_key`, err: `pair 2 is no key=value`},
		{entry: `provider=aws =x`, err: `pair 2 is no key=value`},
		{entry: `provider=aws a=s3cret=x`, err: `the value of a contains =`},
		{entry: `provider=aws a="s3cret`, err: `the value of a: its double quotes are not closed`},
		{entry: `provider=aws a=s3"cret`, err: `the value of a: contains '"'`},
		{entry: `provider=aws a=s3\cret`, err: `the value of a: contains '\\'`},
		{entry: `provider=aws a=1 a=2`, err: `a is there twice`},
		{entry: `provider=aws "a`, err: `the key of pair 2: its double quotes`},
		{entry: "provider=aws a=" + strings.Repeat("x", maxCloudJoin), err: `is 16399 bytes long`},
	} {
		got, err := ParseCloudJoin(c.entry)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "cret") {
				t.Errorf("%.60s: got %v, want %q and no value", c.entry, err, c.err)
			}
			continue
		}
		if err != nil || got.Provider != c.provider || !maps.Equal(got.Args, c.args) {
			t.Errorf("%s: got %+v, %v", c.entry, got, err)
		}
	}
}

func TestCloudJoinsInTheConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		`retry_join = ["10.0.0.1", "provider=nimbus"]`:                     `retry_join: entry 2: unknown provider "nimbus"`,
		`retry_join_wan = ["provider=aws a"] server = true`:                `retry_join_wan: entry 1: pair 2`,
		`retry_join = ["tag_key=x provider=aws"]`:                          `retry_join: entry 1: one that asks a cloud begins with provider=`,
		`start_join = ["provider=aws secret_access_key=\"s3cret\" x=\"y"]`: `the value of x: its double quotes`,
	} {
		if _, _, err := load(t, `data_dir = "/d" `+text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	c := mustLoad(t, `data_dir = "/d" `+`retry_join = ["10.0.0.1", "provider=aws secret_access_key=s3cret"]`)
	want := []string{"10.0.0.1", "provider=aws (and 1 keys)"}
	if got, _ := c.Settings()["retry_join"].([]string); !slices.Equal(got, want) {
		t.Errorf("settings show %v, want %v", got, want)
	}
	if got := JoinEntriesToShow([]string{`provider=x"s3cret`}); !slices.Equal(got, []string{"provider=" + hidden}) {
		t.Errorf("a broken entry is shown as %v", got)
	}
}

func FuzzParseCloudJoin(f *testing.F) {
	f.Add(`provider=aws tag_key=role "tag value"="a\"b"`)
	f.Add(`provider="a`)
	f.Fuzz(func(t *testing.T, entry string) {
		c, err := ParseCloudJoin(entry)
		if err == nil && !slices.Contains(cloudProviders[:], c.Provider) {
			t.Errorf("%q: provider %q", entry, c.Provider)
		}
	})
}

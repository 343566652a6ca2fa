package cloudjoin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/config"
)

func TestProvidersAreThoseOfTheConfiguration(t *testing.T) {
	have := slices.Sorted(maps.Keys(providers()))
	for _, name := range have {
		if _, err := config.ParseCloudJoin("provider=" + name); err != nil {
			t.Errorf("%s is built in, and the configuration does not take it: %v", name, err)
		}
	}
	_, err := config.ParseCloudJoin("provider=other")
	if want := "built in are " + strings.Join(have, ", ") + ";"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the configuration says %v, want %q", err, want)
	}
}

// TestArgumentsReachTheProvider asks the one that refuses arguments without
// sending anything.
func TestArgumentsReachTheProvider(t *testing.T) {
	for entry, want := range map[string]string{
		"provider=mdns":                     "Service record not provided",
		"provider=mdns service=x timeout=y": "parse timeout",
	} {
		_, err := NewFinder(joins(t, entry)).Addrs(t.Context())
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%s: got %v, want %q", entry, err, want)
		}
	}
}

// cloud is a provider whose answers a test decides.
type cloud func(args map[string]string) ([]string, error)

func (c cloud) Addrs(args map[string]string, _ *log.Logger) ([]string, error) { return c(args) }

func joins(t *testing.T, entries ...string) []config.CloudJoin {
	all := make([]config.CloudJoin, len(entries))
	for i, e := range entries {
		var err error
		if all[i], err = config.ParseCloudJoin(e); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func finder(t *testing.T, entries []string, c cloud) *Finder {
	f := NewFinder(joins(t, entries...))
	t.Cleanup(func() {
		if err := f.run.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f.providers = map[string]provider{"aws": c, "gce": c}
	return f
}

func TestWhatOneCloudCannotSayOthersDo(t *testing.T) {
	down := errors.New("403")
	f := finder(t, []string{"provider=aws tag_key=a", "provider=gce zone=b"}, func(args map[string]string) ([]string, error) {
		if args["zone"] == "b" {
			return []string{"10.0.0.2", "10.0.0.3"}, nil
		}
		return nil, fmt.Errorf("list: %w", down)
	})
	addrs, err := f.Addrs(t.Context())
	if want := []string{"10.0.0.2", "10.0.0.3"}; !slices.Equal(addrs, want) {
		t.Errorf("got %v, want %v", addrs, want)
	}
	if !errors.Is(err, down) || strings.Contains(err.Error(), "gce") {
		t.Errorf("got error %v, want that of aws alone", err)
	}
}

func TestAnAnswerOfNothingAndOneOfTooMuch(t *testing.T) {
	f := finder(t, []string{"provider=aws", "provider=gce"}, func(args map[string]string) ([]string, error) {
		if args["provider"] == "aws" {
			return nil, nil
		}
		return slices.Repeat([]string{"10.0.0.1"}, 10*maxAddrs), nil
	})
	addrs, err := f.Addrs(t.Context())
	if len(addrs) != maxAddrs || err == nil || !strings.Contains(err.Error(), "provider=aws: nothing matches") {
		t.Errorf("got %d addresses and %v", len(addrs), err)
	}
}

// TestAProviderThatHangsIsAskedOnce: as nothing can stop it, another question
// beside it would only add one that hangs.
func TestAProviderThatHangsIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, answer := 0, make(chan struct{})
		f := finder(t, []string{"provider=aws"}, func(map[string]string) ([]string, error) {
			asked++
			<-answer
			return []string{"10.0.0.1"}, nil
		})
		for range 3 {
			if _, err := f.Addrs(t.Context()); !errors.Is(err, ErrBusy) {
				t.Errorf("got %v, want %v", err, ErrBusy)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Addrs(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that the caller has gone", err)
		}
		close(answer)
		if addrs, err := f.Addrs(t.Context()); err != nil || len(addrs) != 1 || asked != 1 {
			t.Errorf("got %v, %v after %d questions, want the late answer to the only one", addrs, err, asked)
		}
	})
}

// What a provider says goes into logs: no secret of the entry, no page of a proxy.
func TestFaultsOfProviders(t *testing.T) {
	const secret = "wJalrXUtnFEMI"
	entry := "provider=aws region=eu secret_access_key=" + secret
	for what, c := range map[string]struct {
		fault func() error
		want  string
	}{
		"a secret":            {func() error { return fmt.Errorf("401 in eu for %s", secret) }, "401 in eu for <hidden>"},
		"a page":              {func() error { return errors.New(strings.Repeat("<p>", 10_000)) }, "<…"},
		"a secret at the cut": {func() error { return errors.New(strings.Repeat(".", maxFault-5) + secret) }, "<hidd…"},
		"a panic":             {func() error { panic(secret) }, errPanicked.Error()},
	} {
		f := finder(t, []string{entry}, func(map[string]string) ([]string, error) { return nil, c.fault() })
		addrs, err := f.Addrs(t.Context())
		if err == nil {
			t.Errorf("%s: %v", what, addrs)
			continue
		}
		if text := err.Error(); !strings.HasSuffix(text, c.want) || strings.Contains(text, secret[:5]) || len(text) > maxFault+100 {
			t.Errorf("%s: %.200q, want %q", what, text, c.want)
		}
	}
}

// One cloud that hangs costs no other its time.
func TestCloudsAreAskedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		f := finder(t, []string{"provider=aws tag_key=1", "provider=aws tag_key=2", "provider=gce"}, func(args map[string]string) ([]string, error) {
			if args["provider"] == "aws" {
				<-hang
			}
			return []string{"10.0.0.1"}, nil
		})
		begin := time.Now()
		addrs, err := f.Addrs(t.Context())
		if took := time.Since(begin); len(addrs) != 1 || !errors.Is(err, ErrBusy) || took != patience {
			t.Errorf("%v, %v after %s", addrs, err, took)
		}
		close(hang)
	})
}

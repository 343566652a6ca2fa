package browser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to show what it is to show: generous, since other tests
// run beside these.
const patience = time.Minute

// missing ends a test whose program is not there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: .ci/run installs it", what)
	}
	t.Skipf("%s is not installed: .ci/run installs it", what)
}

// browse starts a browser that ends with the test.
func browse(t testing.TB) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(patience), chromedp.WindowSize(1280, 900))
	for _, flag := range []string{"disable-quic", "disable-component-update", "disable-background-networking", "no-first-run"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Log("end the browser:", err)
		}
		end()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("start chromium:", err)
	}
	return ctx
}

// tab is one page of the browser. Whatever it complains about, and each dialog that a script
// opens, fails the test.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex
	faults []string
	// expected are parts of complaints that belong to a test: answers that are refused.
	expected []string
}

// open makes a tab with a storage of its own.
func open(t testing.TB, browser context.Context, expected ...string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	tb := &tab{t: t, ctx: ctx, expected: expected}
	t.Cleanup(func() {
		cancel()
		tb.mu.Lock()
		defer tb.mu.Unlock()
		for _, fault := range tb.faults {
			t.Error("the page complains:", fault)
		}
	})
	err := chromedp.Listen(ctx, tb.hear)
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		t.Fatal("open a tab:", err)
	}
	return tb
}

func (tb *tab) hear(event any) {
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		tb.fault("a dialog opens: " + e.Message)
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		tb.fault(text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Source == log.EntrySourceSecurity {
			tb.fault(e.Entry.Text + " " + e.Entry.URL)
		}
	}
}

func (tb *tab) fault(text string) {
	for _, part := range tb.expected {
		if strings.Contains(text, part) {
			return
		}
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.faults = append(tb.faults, text)
}

func (tb *tab) run(what string, steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatalf("%s: %v", what, err)
	}
}

// eval returns the value of an expression, awaited if it is a promise.
func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%.200s: %v", expression, err)
	}
	return value
}

// see waits until an expression is true, and fails with what the page shows. The page is asked
// from outside: its policy allows nobody to make functions of text in it.
func (tb *tab) see(what, expression string) {
	tb.t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	tried := "(() => { try { return Boolean(" + expression + ") } catch { return false } })()" // what it looks at may not be there yet
	for end := time.Now().Add(patience); !eval[bool](tb, tried); <-look.C {
		if time.Now().After(end) {
			tb.t.Fatalf("%s; the page shows:\n%s", what, eval[string](tb, `document.body.innerText`))
		}
	}
}

// until waits until something outside of the page is so.
func (tb *tab) until(what string, is func() bool) {
	tb.t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); !is(); <-look.C {
		if time.Now().After(end) {
			tb.t.Fatalf("%s: it is not so; the page shows:\n%s", what, eval[string](tb, `document.body.innerText`))
		}
	}
}

// press presses keys as somebody does: what a page keeps from its field is not typed, while
// chromedp's own key events type it all the same.
func (tb *tab) press(keys ...string) {
	tb.t.Helper()
	for _, key := range keys {
		for _, p := range []input.DispatchKeyEventParams{{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: key}, {Type: input.DispatchKeyEventTypeKeyUp, Key: key}} {
			if _, err := chromedp.Call(tb.ctx, input.DispatchKeyEvent, p); err != nil {
				tb.t.Fatalf("press %s: %v", key, err)
			}
		}
	}
}

// shows waits until the page has a text.
func (tb *tab) shows(text string) {
	tb.t.Helper()
	tb.see("the page does not show "+text, fmt.Sprintf("document.querySelector('main')?.innerText.includes(%q)", text))
}

func (tb *tab) goTo(url string) {
	tb.t.Helper()
	tb.run("load "+url, chromedp.Navigate(url))
}

// look is how somebody looks at pages.
type look struct {
	name          string
	dark          bool
	width, height int64
}

func looks() []look {
	return []look{{"light", false, 1280, 900}, {"dark", true, 1280, 900}, {"phone", false, 375, 812}, {"phone-dark", true, 375, 812}}
}

// judged are the looks in which pages are judged: two that have both widths and both colours
// between them, or all four where LEGATE_BROWSER is set.
func judged() []look {
	all := looks()
	if os.Getenv("LEGATE_BROWSER") == "" {
		return []look{all[0], all[3]}
	}
	return all
}

// as has the tab look so from now on.
func (tb *tab) as(l look) {
	tb.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	_, err := chromedp.Call(tb.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600})
	if err == nil {
		_, err = chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	}
	if err != nil {
		tb.t.Fatal("look "+l.name+":", err)
	}
	eval[bool](tb, `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`) // it has drawn itself so
}

// picture writes what the page shows, compressed as far as that goes: all of it, or what fits a
// window.
func (tb *tab) picture(file string, all bool) {
	tb.t.Helper()
	take := chromedp.CaptureScreenshot()
	if all {
		take = chromedp.FullScreenshot(100)
	}
	b, err := chromedp.Run(tb.ctx, take)
	if err != nil {
		tb.t.Fatal("take a picture:", err)
	}
	drawn, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		tb.t.Fatal(err)
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := errors.Join(encoder.Encode(&small, drawn), os.WriteFile(file, small.Bytes(), 0o644)); err != nil {
		tb.t.Fatal(err)
	}
}

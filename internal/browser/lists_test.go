package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// before runs a script in each page that is loaded from now on, before its own.
func (tb *tab) before(script string) {
	tb.t.Helper()
	if _, err := chromedp.Call(tb.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		tb.t.Fatal(err)
	}
}

// answering has the page think that a path of the API answers so: an expression of JavaScript.
func (tb *tab) answering(path, answer string) {
	tb.t.Helper()
	tb.before(fmt.Sprintf(`(f => { let now; window.fetch = (u, o) => u.startsWith(%q) ? (u.includes('index=') ? new Promise(() => {}) : Promise.resolve(new Response(JSON.stringify(now ??= %s), { headers: { 'X-Consul-Index': '5' } }))) : f(u, o) })(window.fetch)`, "/v1/"+path, answer))
}

// soft is how long a frame may take while a list scrolls, in milliseconds, in the best of several
// runs: a machine draws less often that has other tests at the same time.
func soft() float64 {
	if os.Getenv("LEGATE_BROWSER") == "" {
		return 300
	}
	return 100
}

// isLong checks that a list of ten thousand rows scrolls, that few of them are in the page, and that
// the last can be found.
func (tb *tab) isLong(what, last string) {
	tb.t.Helper()
	tb.see("all "+what+" are counted", `document.querySelector('main').innerText.includes('10,000')`)
	best := 1e9
	for i := 0; i < 3 && best > soft(); i++ {
		best = min(best, eval[float64](tb, scrolling))
	}
	tb.t.Logf("a frame takes %.0f ms while %s scroll", best, what)
	if best > soft() {
		tb.t.Errorf("a frame takes %.0f ms while %s scroll", best, what)
	}
	tb.shows(last)
	if rows := eval[int](tb, `document.querySelectorAll('.row').length`); rows > 150 {
		tb.t.Errorf("%d rows of %s are in the page", rows, what)
	}
	eval[bool](tb, `scrollTo(0, 0), true`)
	tb.run("search", chromedp.SendKeys(chromedp.CSS("#search"), last))
	tb.see("one of all is found", `document.querySelectorAll('.row .main').length === 1`)
}

// tenThousand is an answer with so many rows, of the number i as four digits in n.
func tenThousand(row string) string {
	return `Array.from({ length: 10000 }, (_, i) => { const n = String(i).padStart(4, '0'); return (` + row + `) })`
}

func (w *world) longLists(t *testing.T) {
	tb := open(t, w.browser)
	tb.answering("internal/ui/nodes", tenThousand(`{ ID: n, Node: 'node-' + n, Address: '10.0.0.1', Meta: {}, Checks: [{ Node: 'node-' + n, CheckID: 'serfHealth', Name: 'alive', Status: 'passing', Output: '' }], Services: [] }`))
	tb.answering("session/list", tenThousand(`{ ID: '00000000-0000-4000-8000-00000000' + n, Name: 'lock-' + n, Node: 'n1', LockDelay: 1e9, Behavior: 'release', TTL: '30s', CreateIndex: 20000 - i }`))
	tb.goTo(address(w.first(), "dc1/nodes"))
	tb.isLong("nodes", "node-9999")
	tb.goTo(address(w.first(), "dc1/sessions"))
	tb.isLong("sessions", "lock-9999")
}

// hostile has what members of the gossip pools say of themselves shown as text.
func (w *world) hostile(t *testing.T) {
	tb := open(t, w.browser)
	tb.answering("agent/members", fmt.Sprintf(`[{ Name: %[1]q, Addr: '10.0.0.1', Port: 8301, Status: 1, Tags: { role: 'node', dc: %[1]q, build: %[1]q, segment: %[1]q, legate: %[1]q, [%[1]q]: %[1]q } }]`, probe))
	tb.goTo(address(w.first(), "dc1/servers"))
	tb.see("the member is shown", `document.querySelector('.pool .row .main a')?.innerText.includes('onerror=alert(1)') && document.querySelector('.pool .tag:nth-of-type(2)')`)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
	if strings.Contains(eval[string](tb, `document.querySelector('.pool .row .main a').href`), "<") {
		t.Error("the address of a member is not escaped")
	}
}

// many looks at ten thousand tokens.
func (e *editors) many(t *testing.T) {
	tb := e.as(t, e.secret, "events")
	tb.answering("acl/tokens", tenThousand(`{ AccessorID: '00000000-0000-4000-8000-00000000' + n, SecretID: 'secret-' + n, Description: 'app-' + n, Local: false, CreateTime: '2026-01-02T03:04:05Z', Hash: n, CreateIndex: 1, ModifyIndex: 1 }`))
	tb.goTo(address(e.here, "dc1/acls/tokens"))
	tb.isLong("tokens", "app-9999")
	tb.hides("secret-9999")
}

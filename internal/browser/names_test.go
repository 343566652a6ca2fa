package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// What names resolve to, and why.
func (w *world) names(t *testing.T) {
	judge, tb, there := axe(t), open(t, w.browser, "status of 400"), w.c.In("dc2")[0]
	put(t, there, "catalog/register", registration("n-dns", "resolved", "passing", "all is well"))
	tb.goTo(address(w.first(), "dc2/services/resolved"))
	tb.shows("resolved.service.dc2.consul")
	tb.run("look it up", chromedp.Click(chromedp.CSS(`.named button[aria-expanded]`)))
	tb.see("it says what the name resolves to, and who answered", `(text => text.includes('1 IPv4 address') && text.includes('answered by dc2') && text.includes('10.1.2.3'))(document.querySelector('.resolved')?.innerText ?? '')`)
	put(t, there, "catalog/register", registration("n-dns", "resolved", "critical", "the disk is full"))
	tb.see("the answer changes by itself, and says why", `(text => text.includes('Nothing is answered') && text.includes('none is healthy: 1 critical'))(document.querySelector('.resolved')?.innerText ?? '')`)
	tb.isForAll(judge, "a name that is looked up")
	tb.run("ask why", chromedp.Click(chromedp.CSS(`.resolved a`)))
	tb.see("the name is read part by part", `location.pathname === '/ui/dns' && [...document.querySelectorAll('.parts dt')].map(d => d.innerText).join() === 'resolved,service,dc2,consul'`)
	tb.see("it says why", `document.querySelector('.reasons')?.innerText.includes('resolved has 1 instance in dc2, but none is healthy')`)
	put(t, there, "catalog/deregister", map[string]any{"Node": "n-dns"})
	tb.see("and goes on to", `document.querySelector('.reasons')?.innerText.includes('No service is called resolved in dc2')`)
	tb.press("g", "s")
	tb.see("another page is shown", `location.pathname === '/ui/services'`)
	tb.press("g", "d")
	tb.shows("Which name?")
	ask := func(name string) {
		t.Helper()
		eval[bool](tb, `document.querySelector('.ask input').select(), true`)
		tb.run("ask for "+name, chromedp.SendKeys(chromedp.CSS(`.ask input`), name+"\r"))
	}
	ask("consul.service.all.consul")
	tb.see("three datacenters answer", `document.querySelectorAll('.list.cards tbody tr').length === 3 && document.querySelector('.headline').innerText.includes('dc1') && document.querySelector('.headline').innerText.includes('dc3')`)
	eval[bool](tb, `(s => { s.value = 'SRV'; s.dispatchEvent(new Event('change', { bubbles: true })) })(document.querySelector('.ask select')), true`)
	tb.see("with their ports", `[...document.querySelectorAll('.list.cards tbody td.mono')].some(d => /\b8300 dc3-server1\.node\.dc3\.consul\.$/.test(d.innerText))`)
	tb.isForAll(judge, "a name that is explained")
	ask("www.example.com")
	tb.see("what is outside is said so", `document.querySelector('.reasons')?.innerText.includes('not below the domain')`)
	ask("<img src=x onerror=alert(8)>..")
	tb.see("what is no name is refused", `document.querySelector('.notice')?.innerText.includes('is no name of DNS')`)
	ask("<img src=x onerror=alert(8)>")
	tb.see("text stays text", `document.querySelector('.parts dt')?.innerText.includes('onerror=alert(8)')`)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
}

package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// The pages for operators.

func (w *world) servers(t *testing.T) {
	tb := open(t, w.browser)
	tb.goTo(address(w.first(), ""))
	tb.shows("All datacenters reach each other")
	tb.press("g", "m")
	tb.see("g m goes there", `location.pathname === '/ui/servers'`)
	tb.see("the leader is named, with index and term", `(r => r && r.querySelector('th a').innerText === 'dc1-server1' && r.innerText.includes('leader') && Number(r.children[3].innerText.replaceAll(',', '')) > 0 && Number(r.children[4].innerText) > 0)(document.querySelector('.list tbody tr'))`)
	tb.shows("Longest silence")
	tb.see("both agents of the LAN are there, the other with its round trip", `document.querySelectorAll('.pool .row .main').length === 2 && [...document.querySelectorAll('.pool .row')].some(r => r.innerText.includes('dc1-client1') && r.innerText.includes('client') && r.innerText.includes('≈'))`)
	tb.run("look at the other pool", chromedp.Click(chromedp.CSS(`.pool [aria-label=Pools] button:last-child`)))
	tb.see("all servers are there, those of others with their round trips", `[...document.querySelectorAll('.pool .row')].filter(r => /dc[23]-server1/.test(r.innerText) && r.innerText.includes('≈')).length === 2`)
	tb.run("look at another datacenter", chromedp.Click(chromedp.CSS(`nav[aria-label=Datacenters] a[href="/ui/dc2/servers"]`)))
	tb.see("its group is shown", `document.querySelector('.list tbody th a')?.innerText === 'dc2-server1'`)
}

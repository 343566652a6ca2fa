package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

func (w *world) agent(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser, "status of 500") // a client agent has no pool of servers
	tb.goTo(address(w.first(), "services"))
	tb.shows("web")
	const loaded = `performance.getEntriesByType('resource').some(e => e.name.includes('uplot.js'))`
	if eval[bool](tb, loaded) {
		t.Error("what draws charts is loaded before one is shown")
	}
	tb.run("open the agent", chromedp.Click(chromedp.CSS(`a.agent`)))
	tb.see("the agent is shown", `location.pathname === '/ui/agent' && document.querySelector('main .facts')?.innerText.includes('server, leads its datacenter')`)
	tb.see("what it does is drawn", loaded+` && document.querySelectorAll('.chart .uplot canvas').length === 8`)
	put(t, w.first(), "kv/drawn", "x")
	tb.see("memory is said in words, too", `[...document.querySelectorAll('.chart')].some(c => c.innerText.startsWith('Memory') && /last [1-9][\d.,]* MB/.test(c.querySelector('.range').innerText))`)
	tb.see("what was asked of it is counted", `[...document.querySelectorAll('.chart')].some(c => c.innerText.startsWith('HTTP requests') && /most (?!0(\s|$))/.test(c.querySelector('.range').innerText))`)
	tb.isForAll(judge, "the agent")
	other := w.c.In("dc3")[1]
	tb.goTo(address(other, "agent"))
	tb.see("a client agent has no Raft to draw", `document.querySelector('main .facts')?.innerText.includes('client agent') && document.querySelectorAll('.chart').length >= 5 && ![...document.querySelectorAll('.chart')].some(c => c.innerText.startsWith('Raft'))`)
}

func (w *world) coordinates(t *testing.T) {
	tb := open(t, w.browser)
	tb.goTo(address(w.first(), "dc1/nodes/dc1-server1"))
	tb.see("its coordinate is shown as numbers with what they mean", `(rows => rows.length === 4 && rows[0].children[1].innerText.split(', ').length === 8 && /^[\d.]+ ms$/.test(rows[1].children[1].innerText) && rows.every(r => r.children[2].innerText.length > 20))([...document.querySelectorAll('.coordinate tbody tr')])`)
}

package browser

import (
	"bytes"
	"encoding/json"
	"net/http"
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

// create makes what a path of the API answers with an ID, and returns that.
func (w *world) create(t *testing.T, method, path string, body any) string {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.first().HTTPAddr()+"/v1/"+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || made.ID == "" {
		t.Fatalf("%s %s: %s %v", method, path, res.Status, err)
	}
	return made.ID
}

// unmarked is true while no text has become markup.
const unmarked = `document.querySelectorAll('main img, main script, main iframe, main [onerror], main [onload], main a[href^="javascript:"]').length === 0 && document.querySelectorAll('script').length === 1`

func (w *world) sessions(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser, "status of 404")
	tb.goTo(address(w.first(), "dc1/sessions?q=onerror"))
	tb.shows("No session fits")
	id := w.create(t, http.MethodPut, "session/create", map[string]any{"Name": probe, "Behavior": "delete", "TTL": "600s", "LockDelay": "1s"})
	tb.shows(id) // without loading
	tb.shows(probe)
	put(t, w.first(), "kv/locks/"+"%3Cimg%20src%3Dx%3E?acquire="+id, "x")
	tb.run("open it", chromedp.Click(chromedp.CSS(`.row .main button`)), chromedp.WaitVisible(chromedp.CSS(`dialog[open] #held`)))
	tb.see("it says what becomes of its keys", `document.querySelector('dialog[open]').innerText.includes('deleted')`)
	tb.run("look at nothing", chromedp.Click(chromedp.CSS(`dialog[open] .beside button`)))
	tb.see("all keys are not read", `document.querySelector('dialog[open] .field-error').innerText.includes('empty')`)
	tb.run("look at others", chromedp.SendKeys(chromedp.CSS(`#held`), "none/\r"))
	tb.see("it holds none there", `document.querySelector('dialog[open]').innerText.includes('no key below')`)
	eval[bool](tb, `document.querySelector('#held').select(), true`)
	tb.run("look at locks", chromedp.SendKeys(chromedp.CSS(`#held`), "locks/\r"))
	tb.see("the key is named", `document.querySelector('dialog[open] .held li')?.innerText === 'locks/<img src=x>'`)
	tb.run("want to destroy it", chromedp.Click(chromedp.CSS(`dialog[open] button.danger`)))
	tb.see("it says what that does", `document.querySelector('dialog[open] .notice')?.innerText.includes('This deletes 1 key below locks/')`)
	for _, l := range looks() {
		tb.as(l)
		tb.accessible(judge, "a session "+l.name)
	}
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
	tb.run("destroy it", chromedp.Click(chromedp.CSS(`dialog[open] button.danger`)))
	tb.see("the dialog closes", `!document.querySelector('dialog[open]')`)
	tb.shows("No session fits")
}

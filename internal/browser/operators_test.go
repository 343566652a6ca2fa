package browser

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/legate-project/legate/internal/testcluster"
)

// The pages for operators.

func (w *world) servers(t *testing.T) {
	tb := open(t, w.browser)
	tb.goTo(address(w.first(), ""))
	tb.shows("Last answer")
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
func create(t *testing.T, n *testcluster.Node, token, method, path string, body any) string {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.HTTPAddr()+"/v1/"+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var made struct{ ID, AccessorID string }
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || made.ID+made.AccessorID == "" {
		t.Fatalf("%s %s: %s %v", method, path, res.Status, err)
	}
	return made.ID + made.AccessorID
}

// unmarked is true while no text has become markup.
const unmarked = `document.querySelectorAll('main img, main script, main iframe, main [onerror], main [onload], main a[href^="javascript:"]').length === 0 && document.querySelectorAll('script').length === 1`

func (w *world) sessions(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser, "status of 404")
	tb.goTo(address(w.first(), "dc1/sessions?q=onerror"))
	tb.shows("No session fits")
	id := create(t, w.first(), "", http.MethodPut, "session/create", map[string]any{"Name": probe, "Behavior": "delete", "TTL": "600s", "LockDelay": "1s"})
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

// controlled looks at the pages of access control in a tab that shows a token of management.
func controlled(t *testing.T, tb *tab, here *testcluster.Node, secret string) {
	t.Helper()
	judge := axe(t)
	make := func(path string, body map[string]any) string {
		t.Helper()
		return create(t, here, secret, http.MethodPut, "acl/"+path, body)
	}
	const rules = `service_prefix "web" { policy = "read" } # <img src=x onerror=alert(6)>`
	create(t, here, secret, http.MethodPut, "session/create", map[string]any{"Name": "seen by few"})
	make("policy", map[string]any{"Name": "web-read", "Description": probe, "Rules": rules})
	make("role", map[string]any{"Name": "on-call", "Description": probe, "Policies": []any{map[string]any{"Name": "web-read"}}})
	make("token", map[string]any{"Description": probe, "SecretID": "0badcafe-0000-4000-8000-00000000beef", "Roles": []any{map[string]any{"Name": "on-call"}}, "ExpirationTTL": "24h"})
	open := func(name string) {
		t.Helper()
		tb.see(name+" is in the list", `[...document.querySelectorAll('.row .main button')].some(b => b.innerText.includes('`+name+`'))`)
		eval[bool](tb, `[...document.querySelectorAll('.row .main button')].find(b => b.innerText.includes('`+name+`')).click(), true`)
		tb.see("its dialog opens", `document.querySelector('main dialog[open]')`)
		for _, l := range looks() {
			tb.as(l)
			tb.accessible(judge, name+" "+l.name)
		}
	}
	eval[bool](tb, `document.querySelector('nav a[href="/ui/access"]').click(), true`)
	open("onerror=alert(1)")
	tb.see("it says what is granted", `[...document.querySelectorAll('main dialog a')].some(a => a.innerText === 'on-call')`)
	if text := eval[string](tb, `document.documentElement.outerHTML`); strings.Contains(text, "0badcafe") || strings.Contains(text, secret) {
		t.Error("secrets of tokens are in the page")
	}
	tb.run("look at the role", chromedp.Click(chromedp.CSS(`main dialog a`)))
	open("on-call")
	tb.run("look at the policy", chromedp.Click(chromedp.CSS(`main dialog a`)))
	open("web-read")
	tb.see("the rules are text", `document.querySelector('main dialog pre')?.innerText.includes('onerror=alert(6)')`)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
	eval[bool](tb, `document.querySelector('main dialog').close(), true`)
	for _, page := range []string{"auth-methods", "binding-rules", "self"} {
		eval[bool](tb, `document.querySelector('nav a[href="/ui/dc1/acls/`+page+`"]').click(), true`)
		tb.see("it is shown", `document.querySelector('nav a[href="/ui/dc1/acls/`+page+`"][aria-current]') && document.querySelector('main .empty .what, main .facts')`)
		for _, l := range looks() {
			tb.as(l)
			tb.accessible(judge, page+" "+l.name)
		}
	}
	tb.run("ask for a right", chromedp.SendKeys(chromedp.CSS(`.ask input`), "web\r"))
	tb.see("it is answered", `document.querySelector('.answers li')?.innerText.replace(/\s+/g, ' ').trim() === 'may read service web'`)
	tb.as(looks()[0])
}

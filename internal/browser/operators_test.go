package browser

import (
	"encoding/json"
	"net/http"
	"net/url"
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
	tb.shows("Unhealthy without the leader for")
	tb.see("units have room", `document.body.innerText.includes('200 ms') && !document.body.innerText.includes('200ms')`)
	tb.see("both agents of the LAN are there, the other with its round trip", `document.querySelectorAll('.pool .row .main').length === 2 && [...document.querySelectorAll('.pool .row')].some(r => r.innerText.includes('dc1-client1') && r.innerText.includes('client') && r.innerText.includes('≈'))`)
	tb.run("look at the other pool", chromedp.Click(chromedp.CSS(`.pool [aria-label=Pools] button:last-child`)))
	tb.see("all servers are there, those of others with their round trips", `[...document.querySelectorAll('.pool .row')].filter(r => /dc[23]-server1/.test(r.innerText) && r.innerText.includes('≈')).length === 2`)
	tb.run("look at another datacenter", chromedp.Click(chromedp.CSS(`nav[aria-label=Datacenters] a[href="/ui/dc2/servers"]`)))
	tb.see("its group is shown", `document.querySelector('.list tbody th a')?.innerText === 'dc2-server1'`)
}

// create makes what a path of the API answers with an ID, and returns that.
func create(t *testing.T, n *testcluster.Node, token, path string, body any) string {
	t.Helper()
	method := http.MethodPut
	if path == "query" {
		method = http.MethodPost
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID, AccessorID string }
	answer, err := exchange(t.Context(), n, token, method, path, b)
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil || made.ID+made.AccessorID == "" {
		t.Fatalf("make %s: %v", path, err)
	}
	return made.ID + made.AccessorID
}

// isForAll has axe-core judge what is shown in several looks.
func (tb *tab) isForAll(axe, what string) {
	tb.t.Helper()
	for _, l := range judged() {
		tb.as(l)
		tb.accessible(axe, what+" "+l.name)
	}
	tb.as(looks()[0])
}

// unmarked is true while no text has become markup.
const unmarked = `document.querySelectorAll('main img, main script, main iframe, main [onerror], main [onload], main a[href^="javascript:"]').length === 0 && document.querySelectorAll('script').length === 1`

func (w *world) sessions(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser, "status of 404")
	tb.goTo(address(w.first(), "dc1/sessions?q=onerror"))
	tb.shows("No session fits")
	id := create(t, w.first(), "", "session/create", map[string]any{"Name": probe, "Behavior": "delete", "TTL": "600s", "LockDelay": "1s"})
	tb.shows(id) // without loading
	tb.shows(probe)
	put(t, w.first(), "kv/locks/"+"%3Cimg%20src%3Dx%3E?acquire="+id, "x")
	tb.run("open it", chromedp.Click(chromedp.CSS(`.row .main button`)))
	tb.see("the key that it holds is named, and what becomes of it", `(d => d?.querySelector('.held li')?.innerText === 'locks/<img src=x>' && d.innerText.includes('1 key. When the session ends, it is deleted'))(document.querySelector('dialog[open]'))`)
	put(t, w.first(), "kv/another?acquire="+id, "x")
	tb.see("another comes in by itself", `document.querySelector('dialog[open] .held li')?.innerText === 'another'`)
	put(t, w.first(), "kv/another?release="+id, "x")
	tb.see("and goes", `document.querySelectorAll('dialog[open] .held li').length === 1`)
	tb.run("want to destroy it", chromedp.Click(chromedp.CSS(`dialog[open] button.danger`)))
	tb.see("it says what that does", `document.querySelector('dialog[open] .notice')?.innerText.includes('This deletes 1 key.')`)
	tb.isForAll(judge, "a session")
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
		return create(t, here, secret, "acl/"+path, body)
	}
	const rules = `service_prefix "web" { policy = "read" } # <img src=x onerror=alert(6)>`
	create(t, here, secret, "session/create", map[string]any{"Name": "seen by few"})
	make("policy", map[string]any{"Name": "web-read", "Description": probe, "Rules": rules})
	make("role", map[string]any{"Name": "on-call", "Description": probe, "Policies": []any{map[string]any{"Name": "web-read"}}})
	make("token", map[string]any{"Description": probe, "SecretID": "0badcafe-0000-4000-8000-00000000beef", "Roles": []any{map[string]any{"Name": "on-call"}}, "ExpirationTTL": "24h"})
	open := func(name string) {
		t.Helper()
		tb.see(name+" is in the list", `[...document.querySelectorAll('.row .main button')].some(b => b.innerText.includes('`+name+`'))`)
		eval[bool](tb, `[...document.querySelectorAll('.row .main button')].find(b => b.innerText.includes('`+name+`')).click(), true`)
		tb.see("its dialog opens", `document.querySelector('main dialog[open]')`)
		tb.isForAll(judge, name)
	}
	eval[bool](tb, `document.querySelector('nav a[href="/ui/access"]').click(), true`)
	open("onerror=alert(1)")
	tb.see("it says what is granted", `[...document.querySelectorAll('main dialog a')].some(a => a.innerText === 'on-call')`)
	if text := eval[string](tb, `document.documentElement.outerHTML`); strings.Contains(text, "0badcafe") || strings.Contains(text, secret) {
		t.Error("secrets of tokens are in the page")
	}
	tb.as(looks()[0])
	for _, name := range []string{"web-1", "db"} {
		eval[bool](tb, `document.querySelector('main dialog .ask input').select(), true`)
		tb.run("ask what it may", chromedp.SendKeys(chromedp.CSS(`main dialog .ask input`), name+"\r"))
		tb.see("it is answered for "+name, `document.querySelector('main dialog .answers li code')?.innerText === '`+name+`'`)
	}
	tb.see("it may what its policy says, and nothing else", `[...document.querySelectorAll('main dialog .answers li')].map(l => l.innerText.replace(/\s+/g, ' ').trim()).join() === 'may not read service db,may read service web-1'`)
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
		tb.isForAll(judge, page)
	}
	tb.run("ask for a right", chromedp.SendKeys(chromedp.CSS(`.ask input`), "web\r"))
	tb.see("it is answered", `document.querySelector('.answers li')?.innerText.replace(/\s+/g, ' ').trim() === 'may read service web'`)
	tb.as(looks()[0])
}

// fire sends an event with a payload.
func (w *world) fire(t *testing.T, name, payload string) {
	t.Helper()
	if _, err := exchange(t.Context(), w.first(), "", http.MethodPut, "event/fire/"+url.PathEscape(name), []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) events(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser)
	tb.goTo(address(w.first(), ""))
	tb.shows("All datacenters reach each other")
	tb.press("g", "e")
	tb.shows("released")
	w.fire(t, "<img src=x onerror=alert(7)>", probe)
	w.fire(t, "bytes", "\x00\x01\xff")
	tb.shows("onerror=alert(7)") // without loading
	tb.see("bytes are shown as hex, the newest first", `document.querySelector('.row .clip')?.innerText.replace(/\s+/g, ' ').includes('hex 00 01 ff')`)
	eval[bool](tb, `[...document.querySelectorAll('.row .main button')].find(b => b.innerText.includes('alert(7)')).click(), true`)
	tb.see("the payload is text", `document.querySelector('dialog[open] pre')?.innerText.includes('onerror=alert(1)')`)
	tb.isForAll(judge, "an event")
	tb.run("as hex", chromedp.Click(chromedp.CSS(`main dialog .choice button:last-child`)))
	tb.see("it is hex", `document.querySelector('dialog[open] pre').innerText.startsWith('22 27 3e')`)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
}

func (w *world) queries(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser)
	tb.goTo(address(w.first(), ""))
	tb.shows("All datacenters reach each other")
	tb.press("g", "q")
	tb.shows("of-the-tests")
	put(t, w.c.In("dc2")[0], "catalog/register", registration("n-far", "far-away", "passing", "all is well"))
	create(t, w.first(), "", "query", map[string]any{"Name": "a-far-one", "Service": map[string]any{"Service": "far-away", "ServiceMeta": map[string]string{}, "Failover": map[string]any{"Datacenters": []string{"dc3", "dc2"}}}})
	create(t, w.first(), "", "query", map[string]any{"Name": "a-geo-", "Template": map[string]any{"Type": "name_prefix_match", "Regexp": "^a-geo-(.*)$"}, "Service": map[string]any{"Service": "${match(1)}", "Tags": []string{probe}}})
	open := func(name string) {
		t.Helper()
		tb.shows(name) // without loading
		eval[bool](tb, `[...document.querySelectorAll('.row .main button')].find(b => b.innerText === '`+name+`').click(), true`)
		tb.run("try it", chromedp.Click(chromedp.CSS(`main dialog .ask button`)))
	}
	open("a-far-one")
	tb.see("it says who answered, and why not this one", `(text => text.includes('1 instance of far-away') && text.includes('answered by dc2, since dc1 and 1 datacenter more had none') && text.includes('10.1.2.3:80'))(document.querySelector('main dialog .answer')?.innerText.replace(/\s+/g, ' ') ?? '')`)
	tb.isForAll(judge, "a query")
	tb.as(looks()[0])
	eval[bool](tb, `document.querySelector('main dialog').close(), true`)
	tb.see("the dialog is gone", `!document.querySelector('main dialog')`)
	open("a-geo-")
	tb.see("what nobody has is said so", `document.querySelector('main dialog .answer')?.innerText.includes('No instance of')`)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
	put(t, w.c.In("dc2")[0], "catalog/deregister", map[string]any{"Node": "n-far"})
}

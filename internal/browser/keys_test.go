package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/testcluster"
)

// The pages of keys.

// click clicks on the button with a text, once there is one that can be clicked.
func (tb *tab) click(button string) {
	tb.t.Helper()
	const find = `[...document.querySelectorAll(document.querySelector('dialog[open]') ? 'dialog[open] button' : 'main button')].find(b => b.innerText.trim() === %q && !b.disabled)`
	one := fmt.Sprintf(find, button)
	tb.see("there is a button "+button, one)
	eval[bool](tb, one+`.click(), true`)
}

// choose clicks on the box beside a key.
func (tb *tab) choose(key string) {
	tb.t.Helper()
	box := fmt.Sprintf(`document.querySelector('.row input[aria-label=%q]')`, "Choose "+key)
	tb.see("there is a box beside "+key, box)
	eval[bool](tb, box+`.click(), true`)
}

// raw writes the bytes of a key.
func raw(t testing.TB, n *testcluster.Node, key, query string, value []byte) {
	t.Helper()
	if _, err := exchange(t.Context(), n, "", http.MethodPut, "kv/"+key+query, value); err != nil {
		t.Fatal(err)
	}
}

// valueOf reads a key as text; "" if there is none.
func (tb *tab) valueOf(key string) string {
	tb.t.Helper()
	return eval[string](tb, fmt.Sprintf(`fetch('/v1/kv/%s?raw').then(r => r.ok ? r.text() : '')`, key))
}

// fill writes keys below a prefix by transactions, each with its name as its value.
func fill(t testing.TB, n *testcluster.Node, name func(i int) string, count int) {
	t.Helper()
	const each = 64 // operations of a transaction
	var writers errgroup.Group
	writers.SetLimit(8)
	for from := 0; from < count; from += each {
		writers.Go(func() error {
			var ops []map[string]any
			for i := from; i < min(from+each, count); i++ {
				ops = append(ops, map[string]any{"KV": map[string]any{"Verb": "set", "Key": name(i), "Value": []byte(name(i))}})
			}
			return send(t.Context(), n, "txn", ops)
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) edits(t *testing.T) {
	here, tb := w.first(), open(t, w.browser, "status of 404")
	put(t, here, "kv/app/config", map[string]int{"size": 1})
	tb.goTo(address(here, "dc1/kv"))
	tb.shows("app/")
	tb.run("open the folder", chromedp.Click(chromedp.CSS(`.row .main a[href$="app%2F"]`)))
	tb.shows("config")
	tb.run("open the key", chromedp.Click(chromedp.CSS(`.row .main a[href$="config"]`)))
	tb.see("the value is there", `document.querySelector('.code')?.innerText === '{"size":1}'`)
	tb.click("Edit")
	tb.see("it can be changed", `document.activeElement === document.querySelector('textarea') && document.activeElement.value === '{"size":1}'`)
	value := chromedp.CSS("textarea")
	tb.run("change it", chromedp.SendKeys(value, kb.End+kb.Enter+"more"))
	tb.click("Review change")
	tb.see("what changes is shown", `document.querySelector('.diff .added')?.innerText.trim() === '+ more'`)
	tb.click("Save")
	tb.shows("Saved.")
	put(t, here, "kv/app/other", "x") // what is written is not waited for by who looks at another key
	if got := eval[string](tb, `fetch('/v1/kv/app/config?raw').then(r => r.text())`); got != "{\"size\":1}\nmore" {
		t.Errorf("saved %q", got)
	}
	tb.run("change it again", chromedp.SendKeys(value, kb.End+kb.Enter+"mine"))
	put(t, here, "kv/app/config", "theirs")
	tb.shows("It was changed while you wrote")
	tb.click("Review change")
	tb.click("Save")
	tb.shows("somebody else changed it in the meantime")
	tb.click("Compare mine with it")
	tb.see("theirs would go", `document.querySelector('.diff .taken')?.innerText.trim() === '- "theirs"'`)
	tb.shows("Changed, not saved")
	tb.click("Discard my edit")
	tb.see("theirs is there", `document.querySelector('textarea').value === '"theirs"'`)
	tb.click("Close")
	tb.click("Delete")
	tb.click("Delete it")
	tb.see("the folder is shown without it", `location.search === '?key=app%2F' && document.querySelector('.row .main') && ![...document.querySelectorAll('.row .main')].some(r => r.innerText === 'config')`)
	tb.click("New key")
	tb.run("name it", chromedp.SendKeys(chromedp.CSS("input[name=name]"), "other"))
	tb.click("Make it")
	tb.shows("app/other is there already")
	tb.run("name it otherwise", chromedp.SendKeys(chromedp.CSS("input[name=name]"), "-one"))
	tb.click("Make it")
	tb.see("it is open", `location.search === '?key=app%2Fother-one'`)
	tb.shows("Changed at index")
	savesSlowly(tb)
}

// What is saved may be seen by who follows the key before the save is answered.
func savesSlowly(tb *tab) {
	const index = `[...document.querySelectorAll('dt')].find(e => e.innerText === 'Changed at index').nextElementSibling.innerText`
	tb.click("Edit")
	for _, more := range []string{"one", "two"} {
		before := eval[string](tb, index)
		eval[bool](tb, `(fetched => { window.fetch = async (to, how) => { const a = await fetched(to, how); if (how?.method === 'PUT') { await new Promise(go => { window.answer = go }); window.fetch = fetched } return a } })(window.fetch), true`)
		tb.run("change it", chromedp.SendKeys(chromedp.CSS("textarea"), kb.End+more))
		tb.click("Review change")
		tb.click("Save")
		tb.see("the answer waits, and the key has changed", fmt.Sprintf(`window.answer && %s !== %q`, index, before))
		tb.see("it is not taken for another's", `!document.querySelector('.value .warn')`)
		eval[bool](tb, `window.answer(), delete window.answer`)
		tb.shows("Saved.")
	}
}

func (w *world) looksAtValues(t *testing.T) {
	judge, here, tb := axe(t), w.first(), open(t, w.browser)
	raw(t, here, "look/a.json", "", []byte(`{"name": "web", "port": 80, "up": true}`))
	raw(t, here, "look/b", "", []byte("name: web # the first\nport: 80\n"))
	raw(t, here, "look/c", "", []byte("job \"web\" {\n  count = 3\n}\n"))
	raw(t, here, "look/d.json", "", []byte("{\n  \"a\": 1\n  \"b\": 2\n}"))
	raw(t, here, "look/e.json", "", []byte(`{"x": "`+strings.ReplaceAll(probe, `"`, `\"`)+`"}`))
	for key, part := range map[string]string{"a.json": `['.hl-key', '"port"'], ['.hl-number', '80'], ['.hl-word', 'true']`, "b": `['.hl-key', 'port'], ['.hl-comment', '# the first']`, "c": `['.hl-key', 'count'], ['.hl-string', '"web"']`} {
		tb.goTo(address(here, "dc1/kv?key=look%2F"+key))
		tb.see(key+" has the colours of its language", `document.querySelector('.code') && [`+part+`].every(([kind, text]) => [...document.querySelectorAll('.code ' + kind)].some(e => e.innerText === text))`)
		tb.isForAll(judge, key)
	}
	tb.goTo(address(here, "dc1/kv?key=look%2Fe.json"))
	tb.shows("onerror")
	tb.see("text stays text", unmarked)
	tb.goTo(address(here, "dc1/kv?key=look%2Fd.json"))
	tb.shows("It is no JSON: line 3, column 3")
	tb.click("Edit")
	tb.shows("line 3, column 3")
	field := chromedp.CSS("textarea")
	tb.run("break it otherwise", chromedp.SendKeys(field, "{"))
	tb.shows("line 1, column 2")
	tb.click("Review change")
	tb.isForAll(judge, "a review")
	tb.click("Save") // a warning stops nobody
	tb.shows("Saved.")
	if got := tb.valueOf("look/d.json"); !strings.HasPrefix(got, "{{") {
		t.Errorf("saved %q", got)
	}
}

// soonDrawn is how long it may take to draw what was clicked for, in milliseconds; others use the machine.
const soonDrawn = 5000

func (w *world) largeValues(t *testing.T) {
	here, tb := w.first(), open(t, w.browser)
	dir := tb.downloads()
	const size = 512 << 10 // what agents take, if they are told nothing
	text := []byte(strings.Repeat("a line of a long text, which goes on for a while\n", size/48))[:size-16]
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byte(i * 7)
	}
	raw(t, here, "large/text", "", text)
	raw(t, here, "large/one-line", "", []byte(strings.Repeat("x", size)))
	raw(t, here, "large/bytes", "", bytes)
	timed := func(button string) {
		t.Helper()
		ms := eval[float64](tb, fmt.Sprintf(`(async () => { const begin = performance.now()
			;[...document.querySelectorAll('main button')].find(b => b.innerText === %q).click()
			await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
			return performance.now() - begin })()`, button))
		t.Logf("%s: %.0f ms", button, ms)
		if ms > soonDrawn {
			t.Errorf("%s takes %.0f ms", button, ms)
		}
	}
	for _, key := range []string{"text", "one-line", "bytes"} {
		tb.goTo(address(here, "dc1/kv?key=large%2F"+key))
		tb.shows("This is its beginning")
		if shown := eval[int](tb, `document.querySelector('.code, .hex').innerText.length`); shown > 64<<10 {
			t.Errorf("%s: %d letters are shown at first", key, shown)
		}
		timed("Show all")
		if key == "bytes" {
			continue
		}
		if shown := eval[int](tb, `document.querySelector('.code').textContent.length`); shown != size-16 && shown != size {
			t.Errorf("%s: %d letters are shown of %d", key, shown, size)
		}
		timed("Edit")
		eval[bool](tb, `(f => { f.value = f.value.replaceAll(/[ax]/g, 'Y'); f.dispatchEvent(new Event('input', { bubbles: true })); return true })(document.querySelector('textarea'))`)
		tb.see("it can be reviewed", `[...document.querySelectorAll('main button')].some(b => b.innerText === 'Review change' && !b.disabled)`)
		timed("Review change")
		tb.see("what is drawn of the difference is bounded", `document.querySelector('.diff') && document.querySelector('.diff').textContent.length < 200000`)
	}
	tb.click("Download")
	tb.await(filepath.Join(dir, "bytes"), func(got []byte) bool { return string(got) == string(bytes) })
	tb.goTo(address(here, "dc1/kv?key=large%2Ftext"))
	tb.shows("This is its beginning")
	tb.click("Edit")
	tb.run("add to its beginning", chromedp.SendKeys(chromedp.CSS("textarea"), "new "))
	tb.click("Review change")
	tb.click("Save")
	tb.shows("Saved.")
	if got := tb.valueOf("large/text"); got != "new "+string(text) {
		t.Errorf("saved %d letters, beginning with %.20q", len(got), got)
	}
}

// downloads has the browser put files into a folder, and returns that.
func (tb *tab) downloads() string {
	tb.t.Helper()
	dir := tb.t.TempDir()
	wanted := browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, BrowserContextID: chromedp.FromContext(tb.ctx).BrowserContextID}
	if _, err := chromedp.CallBrowser(tb.ctx, browser.SetDownloadBehavior, wanted); err != nil {
		tb.t.Fatal("have files downloaded:", err)
	}
	return dir
}

// await waits until a file is there as it should be.
func (tb *tab) await(file string, good func([]byte) bool) {
	tb.t.Helper()
	tb.until("a file "+filepath.Base(file), func() bool {
		b, err := os.ReadFile(file)
		return err == nil && good(b)
	})
}

func (w *world) locks(t *testing.T) {
	judge, here, tb := axe(t), w.first(), open(t, w.browser)
	put(t, here, "agent/service/register", map[string]any{"Name": "locker", "ID": "locker-1", "Port": 1, "Check": map[string]any{"CheckID": "locker-ttl", "Name": "of the locker", "TTL": "600s", "Status": "passing"}})
	put(t, here, "agent/check/pass/locker-ttl", nil)
	raw(t, here, "held/key", "", []byte("free"))
	tb.goTo(address(here, "dc1/kv?key=held%2Fkey"))
	tb.shows("Nobody holds it.")
	var id string
	tb.until("a session of the service's check", func() bool { // the check has to be in the catalog first
		b, err := json.Marshal(map[string]any{"Name": "the locker", "Node": "dc1-server1", "ServiceChecks": []map[string]any{{"ID": "locker-ttl"}}})
		if err != nil {
			t.Fatal(err)
		}
		var made struct{ ID string }
		answer, err := exchange(t.Context(), here, "", http.MethodPut, "session/create", b)
		if err != nil || json.Unmarshal(answer, &made) != nil {
			return false
		}
		id = made.ID
		return id != ""
	})
	raw(t, here, "held/key", "?acquire="+id, []byte("mine"))
	tb.see("it is named who holds it, at which node, and until when", `(text => ['the locker', '`+id+`', 'dc1-server1', 'locker-ttl', 'of the service', 'lock index 1'].every(w => text.includes(w)))(document.querySelector('main')?.innerText ?? '')`)
	tb.see("node and service can be gone to", `document.querySelector('.facts a[href="/ui/dc1/nodes/dc1-server1"]') && document.querySelector('.facts a[href="/ui/dc1/services/locker"]')`)
	tb.isForAll(judge, "a lock")
	tb.run("go to the session", chromedp.Click(chromedp.CSS(`.facts a[href*=sessions]`)))
	tb.see("it is the only one", `location.pathname === '/ui/dc1/sessions' && document.querySelectorAll('.row .main').length === 1 && document.querySelector('.row .main small').innerText === '`+id+`'`)
	put(t, here, "session/destroy/"+id, nil)
	put(t, here, "agent/service/deregister/locker-1", nil)
}

// manyKeys is how many keys the list must take.
const manyKeys = 10_000

func (w *world) flatList(t *testing.T) {
	judge, here := axe(t), w.first()
	fill(t, here, func(i int) string { return fmt.Sprintf("flat/f%02d/key-%05d", i/100, i) }, manyKeys)
	tb := open(t, w.browser)
	tb.goTo(address(here, "dc1/kv?key=flat%2F"))
	tb.shows("100 folders")
	tb.click("All keys below")
	tb.shows("10,000 keys")
	best := 1e9
	for range 3 {
		best = min(best, eval[float64](tb, scrolling))
	}
	t.Logf("a frame takes %.0f ms in the middle", best)
	if best > soft() {
		t.Errorf("a frame takes %.0f ms while it scrolls", best)
	}
	tb.shows("f99/key-09999")
	if rows := eval[int](tb, `document.querySelectorAll('.row').length`); rows > 120 {
		t.Errorf("%d rows are in the page", rows)
	}
	eval[bool](tb, `scrollTo(0, 0), true`)
	tb.run("search", chromedp.SendKeys(chromedp.CSS("#search"), "key-04242"))
	tb.see("one of all is found", `document.querySelectorAll('.row .main a').length === 1 && document.querySelector('.row .main a').innerText === 'f42/key-04242'`)
	tb.isForAll(judge, "all keys")
	w.endlessList(t)
}

// A datacenter with a million keys: the page reads so many names, says so and goes on.
func (w *world) endlessList(t *testing.T) {
	tb := open(t, w.browser)
	const million = `(() => { const real = window.fetch
		window.fetch = (url, options) => {
			if (!String(url).includes('/v1/kv/endless/')) return real(url, options)
			let i = 0
			const text = new ReadableStream({ pull(c) {
				if (i === 1000000) return c.close()
				let part = ''
				for (const end = i + 5000; i < end; i++) part += (i ? ',' : '[') + '"endless/key-' + String(i).padStart(7, '0') + '-with-a-long-name"'
				window.named = i
				c.enqueue(new TextEncoder().encode(part + (i === 1000000 ? ']' : '')))
			} })
			return Promise.resolve(new Response(text, { headers: { 'X-Consul-Index': '5' } }))
		} })()`
	if _, err := chromedp.Call(tb.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: million}); err != nil {
		t.Fatal(err)
	}
	tb.goTo(address(w.first(), "dc1/kv?key=endless%2F&list=all"))
	tb.shows("There are more keys than a page can show: these are the first 200,000 keys")
	tb.see("it asked for no more", `window.named < 400000`)
	tb.run("search", chromedp.SendKeys(chromedp.CSS("#search"), "key-0123456"))
	tb.see("one of the first is found", `document.querySelectorAll('.row .main a').length === 1`)
	eval[bool](tb, `(f => { f.value = ''; f.dispatchEvent(new Event('input', { bubbles: true })); return true })(document.querySelector('#search'))`)
	tb.click("Delete folder …")
	tb.see("what cannot be counted is not deleted", `document.querySelector('dialog[open]')?.innerText.includes('legate kv delete -recurse -datacenter=dc1 endless/') && ![...document.querySelectorAll('dialog[open] button')].some(b => b.innerText.startsWith('Delete'))`)
}

func (w *world) deletesMany(t *testing.T) {
	judge, here, tb := axe(t), w.first(), open(t, w.browser, "status of 404", "status of 409")
	fill(t, here, func(i int) string { return fmt.Sprintf("gone/k%03d", i) }, 120)
	fill(t, here, func(i int) string { return fmt.Sprintf("gone/deep/k%03d", i) }, 5)
	id := create(t, here, "", "session/create", map[string]any{"Name": "holder"})
	raw(t, here, "gone/k003", "?acquire="+id, []byte("held"))
	tb.goTo(address(here, "dc1/kv?key=gone%2F"))
	tb.shows("120 keys")
	for _, key := range []string{"gone/k001", "gone/k002", "gone/k003"} {
		tb.choose(key)
	}
	tb.shows("3 keys chosen")
	tb.isForAll(judge, "keys that are chosen")
	tb.click("Delete …")
	tb.see("it names what goes, and what is locked", `(text => ['3 keys', 'gone/k001', '1 lock among them is held'].every(w => text.includes(w)))(document.querySelector('dialog[open]')?.innerText ?? '')`)
	tb.isForAll(judge, "what will be deleted")
	raw(t, here, "gone/k002", "", []byte("theirs"))
	tb.click("Delete 3 keys")
	tb.shows("2 keys were deleted.")
	tb.shows("1 key was not deleted: changed by somebody else meanwhile.")
	tb.see("it is named, and still chosen", `document.querySelector('main .notice').textContent.includes('gone/k002') && document.querySelector('.chosen').innerText.includes('1 key chosen')`)
	tb.isForAll(judge, "a report")
	if got := tb.valueOf("gone/k002"); got != "theirs" {
		t.Errorf("what was changed meanwhile is %q", got)
	}
	tb.run("search another", chromedp.SendKeys(chromedp.CSS("#search"), "k005"))
	tb.see("it alone is shown, and is not chosen", `document.querySelector('.row.head input') && document.querySelectorAll('.row .main a').length === 1 && !document.querySelector('.row.head input').checked`)
	tb.run("search nothing", chromedp.SendKeys(chromedp.CSS("#search"), strings.Repeat(kb.Backspace, 4)))
	tb.shows("118 keys")
	eval[bool](tb, `document.querySelector('.row.head input').click(), true`)
	tb.shows("118 keys chosen")
	tb.click("Delete …")
	tb.see("above a hundred a number is asked for", `document.querySelector('dialog[open] input') && document.querySelector('dialog[open] button[type=submit]').disabled`)
	tb.click("Close")
	tb.click("Choose none")
	raw(t, here, "gone/deep/k001", "?acquire="+id, []byte("held"))
	tb.click("Delete folder …")
	tb.see("all of the folder is counted, and what is locked in it", `(text => ['123 keys', '1 lock among them is held', 'gone/deep/k001'].every(w => text.includes(w)))(document.querySelector('dialog[open]')?.innerText ?? '')`)
	tb.run("type another number", chromedp.SendKeys(chromedp.CSS("dialog[open] input"), "12"))
	tb.see("it is not taken", `document.querySelector('dialog[open] button[type=submit]').disabled`)
	tb.run("type it", chromedp.SendKeys(chromedp.CSS("dialog[open] input"), "3"))
	raw(t, here, "gone/new", "", []byte("x"))
	tb.click("Delete 123 keys")
	tb.see("what came meanwhile stops it", `document.querySelector('dialog[open]').innerText.includes('nothing was deleted')`)
	tb.click("Look again")
	tb.see("it is counted again", `document.querySelector('dialog[open]')?.innerText.includes('124 keys')`)
	tb.run("type it", chromedp.SendKeys(chromedp.CSS("dialog[open] input"), "124"))
	tb.click("Delete 124 keys")
	tb.shows("124 keys were deleted.")
	tb.shows("This folder is empty")
	put(t, here, "session/destroy/"+id, nil)
	w.deletingBreaksOff(t)
}

// The way to the agent breaks off while keys are being deleted: the page says what it knows.
func (w *world) deletingBreaksOff(t *testing.T) {
	here, tb := w.first(), open(t, w.browser, "status of 404")
	fill(t, here, func(i int) string { return fmt.Sprintf("broken/k%03d", i) }, 90)
	tb.goTo(address(here, "dc1/kv?key=broken%2F"))
	tb.shows("90 keys")
	eval[bool](tb, `document.querySelector('.row.head input').click(), true`)
	tb.click("Delete …")
	tb.see("it can be done", `document.querySelector('dialog[open] button[type=submit]')`)
	// The second transaction is carried out, and its answer lost.
	eval[bool](tb, `(() => { const real = window.fetch; let sent = 0
		window.fetch = (url, options) => { const answer = real(url, options); return String(options.body).includes('delete-cas') && ++sent === 2 ? answer.then(() => { throw new TypeError('cut') }) : answer }
		return true })()`)
	tb.click("Delete 90 keys")
	tb.shows("It broke off")
	tb.shows("90 keys were deleted.") // it has looked
}

func (w *world) exportsAndImports(t *testing.T) {
	judge, here, tb := axe(t), w.first(), open(t, w.browser, "status of 404", "status of 409")
	dir := tb.downloads()
	raw(t, here, "move/a", "?flags=18446744073709551615", []byte("one"))
	raw(t, here, "move/b", "", []byte{0, 255})
	raw(t, here, "move/deep/c", "", []byte("three"))
	raw(t, here, "move/empty", "", nil)
	tb.goTo(address(here, "dc1/kv?key=move%2F"))
	tb.shows("3 keys")
	tb.click("Export folder")
	tb.shows("4 keys are in the file.")
	file := filepath.Join(dir, "move.json")
	type entry struct { // as legate kv export writes it
		Key   string `json:"key"`
		Flags uint64 `json:"flags"`
		Value []byte `json:"value"`
	}
	var list []entry
	tb.await(file, func(b []byte) bool { return json.Unmarshal(b, &list) == nil && len(list) == 4 })
	if list[0].Key != "move/a" || list[0].Flags != 1<<64-1 || string(list[1].Value) != "\x00\xff" || list[3].Key != "move/empty" || list[3].Value == nil {
		t.Errorf("exported %+v", list)
	}
	raw(t, here, "move/b", "", []byte("other"))
	if _, err := exchange(t.Context(), here, "", http.MethodDelete, "kv/move/deep/c", nil); err != nil {
		t.Fatal(err)
	}
	tb.click("Import …")
	tb.click("Compare")
	tb.see("it says what is missing", `document.querySelector('dialog[open]').innerText.includes('No file is chosen')`)
	tb.run("choose the file", chromedp.SetUploadFiles(chromedp.CSS("dialog[open] input[type=file]"), []string{file}))
	tb.click("Compare")
	tb.see("it says what it would do", `(text => ['1 key to make', '1 key to change', '2 keys are there as in the file'].every(w => text.includes(w)))(document.querySelector('dialog[open]').innerText)`)
	eval[bool](tb, `document.querySelector('dialog[open] summary').click(), true`)
	tb.see("it says how", `document.querySelector('dialog[open] details').innerText.includes('Bytes that are no plain text')`)
	tb.isForAll(judge, "an import")
	raw(t, here, "move/b", "", []byte("theirs"))
	tb.click("Write 2 keys")
	tb.shows("1 key was written.")
	tb.shows("1 key was not written: changed by somebody else meanwhile.")
	if a, b, c := tb.valueOf("move/a"), tb.valueOf("move/b"), tb.valueOf("move/deep/c"); a != "one" || b != "theirs" || c != "three" {
		t.Errorf("afterwards there are %q, %q, %q", a, b, c)
	}
	tb.click("Import …")
	tb.run("put them elsewhere", chromedp.SetUploadFiles(chromedp.CSS("dialog[open] input[type=file]"), []string{file}), chromedp.SendKeys(chromedp.CSS("dialog[open] input[type=text]"), "moved"+kb.Enter))
	tb.click("Write 4 keys")
	tb.shows("4 keys were written.")
	if got := eval[string](tb, `fetch('/v1/kv/moved/move/a').then(r => r.text())`); !strings.Contains(got, `"Flags":18446744073709551615`) {
		t.Errorf("imported %s", got)
	}
	tb.goTo(address(here, "dc1/kv?key=moved%2Fmove%2F"))
	tb.choose("moved/move/b")
	tb.click("Export")
	tb.shows("1 key is in the file.")
	tb.await(file, func(b []byte) bool {
		return json.Unmarshal(b, &list) == nil && len(list) == 1 && list[0].Key == "moved/move/b"
	})
	tb.click("Choose none")
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("[\n  {\"key\": \"a\",}\n]"), 0o600); err != nil {
		t.Fatal(err)
	}
	tb.click("Import …")
	tb.run("choose a broken file", chromedp.SetUploadFiles(chromedp.CSS("dialog[open] input[type=file]"), []string{bad}))
	tb.click("Compare")
	tb.see("it says where it is broken", `document.querySelector('dialog[open]').innerText.includes('line 2, column 15')`)
}

func (w *world) showsReplication(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser, "status of 404", "status of 500")
	from, to := w.c.In("dc1")[0], w.c.In("dc2")[0]
	raw(t, from, "origin/color", "", []byte("blue"))
	put(t, to, "operator/kv-replication", map[string]any{"Datacenter": "dc1", "Prefix": "origin/", "Target": "copies/"})
	tb.goTo(address(to, "dc2/kv"))
	tb.see("the rule is named, and how it is", `(text => ['Copied from elsewhere', 'copies/', 'mirrors', 'dc1', 'origin/', 'up to date'].every(w => text.includes(w)))(document.querySelector('main')?.innerText ?? '')`)
	tb.isForAll(judge, "a folder that is copied")
	tb.goTo(address(to, "dc2/kv?key=other%2F"))
	tb.shows("This folder is empty")
	tb.see("it is not named where it touches nothing", `!document.querySelector('.copies')`)
	tb.goTo(address(to, "dc2/kv?key=copies%2Fcolor"))
	tb.shows("The agent refuses writes and deletions here: change it in dc1.")
	tb.isForAll(judge, "a key that is a copy")
	put(t, to, "operator/kv-replication/pause", map[string]any{"Target": "copies/"})
	tb.shows("paused")
	tb.run("go to where it comes from", chromedp.Click(chromedp.CSS(`.copied a`)))
	tb.see("it is there", `location.pathname === '/ui/dc1/kv' && location.search === '?key=origin%2Fcolor' && document.querySelector('h1')?.innerText === 'origin/color'`)
	put(t, to, "operator/kv-replication/remove", map[string]any{"Target": "copies/"})
}

// Who may not read the rules of replication is told nothing of them, and of no error.
func seesNoReplication(tb *tab, n *testcluster.Node) {
	tb.t.Helper()
	tb.goTo(address(n, "kv"))
	tb.see("it is refused", `performance.getEntriesByType('resource').some(e => e.name.includes('kv-replication') && e.responseStatus === 403)`)
	tb.see("nothing is said of it", `document.querySelector('h1')?.innerText === 'Keys' && !document.querySelector('.copies') && !document.querySelector('main').innerText.includes('operator')`)
}

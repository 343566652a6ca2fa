package browser

import "testing"

// hooked notes the files that the page hands to the browser.
const hooked = `(() => { const make = URL.createObjectURL; URL.createObjectURL = b => { window.taken = b; return make(b) }
	const click = HTMLAnchorElement.prototype.click; HTMLAnchorElement.prototype.click = function () { if (this.download) window.called = this.download; else click.call(this) } })(), true`

func (w *world) snapshots(t *testing.T) {
	judge, tb := axe(t), open(t, w.browser)
	tb.goTo(address(w.first(), "dc2/servers"))
	eval[bool](tb, hooked)
	tb.pick("Save a snapshot")
	tb.shows("is in your downloads")
	tb.see("the file is named by datacenter, index and date", `/^dc2-\d+-\d{8}T\d{4}Z\.snap$/.test(window.called)`)
	if size := eval[int](tb, `new Response(window.taken.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer().then(b => b.byteLength)`); size < 1000 { // gzip has a checksum
		t.Errorf("the snapshot has %d bytes", size)
	}
	tb.see("it says that it holds secrets", `document.querySelector('section[aria-labelledby=snapshot]').innerText.includes('It holds secrets')`)
	tb.isForAll(judge, "a snapshot")
	// One that does not end, and one that breaks off.
	eval[bool](tb, `window.called = undefined, (f => { window.fetch = (u, o) => u.startsWith('/v1/snapshot') ? Promise.resolve(new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(4 << 20)) } }))) : f(u, o) })(window.fetch), true`)
	tb.pick("Save a snapshot")
	tb.shows("The snapshot is larger than 256 MiB")
	tb.shows("legate snapshot save -datacenter=dc2 FILE")
	eval[bool](tb, `(f => { window.fetch = (u, o) => u.startsWith('/v1/snapshot') ? Promise.resolve(new Response(new ReadableStream({ pull(c) { c.error(new TypeError('gone')) } }))) : f(u, o) })(window.fetch), true`)
	tb.pick("Save a snapshot")
	tb.shows("The snapshot broke off")
	if !eval[bool](tb, `window.called === undefined`) {
		t.Error("a part of a snapshot became a file")
	}
}

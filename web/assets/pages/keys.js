// Keys of one datacenter: folders, and values that are changed only as they were read.
import { html, useEffect, useId, useMemo, useRef, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { useFeed } from '../lib/feed.js'
import { go, pathOfKey } from '../lib/router.js'
import { settings } from '../lib/settings.js'
import { plural } from '../lib/fmt.js'
import { around, decode, diff, hexOf, textOf } from '../lib/value.js'
import { Failure, Empty, Loading, Hidden } from '../parts/notice.js'
import { List } from '../parts/virtual.js'
import { SearchField } from '../parts/search.js'
import { Facts } from '../parts/checks.js'
import { Icon } from '../parts/state.js'
import { useDatacenters } from '../parts/dcs.js'

const isFolder = key => key === '' || key.endsWith('/')
const folderOf = key => key.slice(0, key.lastIndexOf('/', key.length - 2) + 1)
const urlOf = key => 'kv/' + key.split('/').map(encodeURIComponent).join('/')

// unasked says why a browser cannot ask for a key: it changes such paths before it sends them.
const unasked = key => key.split('/').some(s => s === '.' || s === '..') ? 'No browser asks for a key with "." or ".." between slashes. The command line does: legate kv get.' : ''

const Places = ({ dc, of }) => of.length > 1 && html`<div class="choice" role="group" aria-label="Datacenters">${of.map(d => html`<a key=${d} class="button" aria-current=${d === dc ? 'true' : undefined} href=${pathOfKey(d, '')}>${d}</a>`)}</div>`

function Crumbs({ dc, of }) {
  const parts = of.split('/').filter((s, i, all) => i < all.length - 1)
  return html`<p class="crumbs"><a href=${pathOfKey(dc, '')}>${dc}</a>${parts.map((s, i) => { const to = parts.slice(0, i + 1).join('/') + '/'; return to !== of && html` / <a href=${pathOfKey(dc, to)}>${s || '(empty)'}</a>` })}</p>`
}

// Difference shows what a save would change.
const Difference = ({ from, to }) => html`<pre class="diff" aria-label="What changes">${around(diff(from, to)).map(([sign, line]) => sign === null ? html`<span class="muted">… ${plural(line, 'line')} as before …${'\n'}</span>` : html`<span class=${sign === '+' ? 'added' : sign === '-' ? 'taken' : ''}>${sign} ${line}${'\n'}</span>`)}</pre>`

// fixed says why a key is not changed here: numbers beyond 2^53 are rounded on their way into the page.
const fixed = (entry, text, bytes) => text === undefined ? `${plural(bytes.length, 'byte')} that are no plain text: they can be seen here, not changed.` : !Number.isSafeInteger(entry.Flags) ? 'Its flags are a number that browsers round: change it with legate kv put.' : ''

// Editor changes a text. base is what it was when it was read: a save that finds something
// else there changes nothing and says so, so that nobody overwrites another.
function Editor({ dc, name, entry, text }) {
  const id = useId(), [base, setBase] = useState({ text, index: entry.ModifyIndex }), [draft, setDraft] = useState(text)
  const [review, setReview] = useState(false), [error, setError] = useState(), [said, setSaid] = useState('')
  const touched = draft !== base.text, changed = entry.ModifyIndex !== base.index
  useEffect(() => { if (changed && !touched) { setBase({ text, index: entry.ModifyIndex }); setDraft(text) } }, [entry.ModifyIndex])
  const write = async (method, body) => {
    setError(undefined)
    try {
      const { data } = await ask(urlOf(name), { method, body, params: { dc, cas: String(base.index), flags: method === 'PUT' ? String(entry.Flags) : undefined } })
      if (!data) return setError({ kind: 'invalid', message: 'Nothing was changed: somebody else changed it in the meantime', hint: 'Look at what is there now, and decide.' })
      setReview(false)
      if (method === 'DELETE') return go(pathOfKey(dc, folderOf(name)))
      setBase({ text: draft, index: base.index })
      setSaid('Saved.')
    } catch (fault) { setError(fault) }
  }
  return html`<section class="panel" aria-label="Value"><label for=${id}>Value</label>
    ${changed && touched && html`<div class="notice warn" role="alert"><${Icon} state="warning" size=${20} /><div><p class="what">It was changed while you wrote</p><p>Your text would take the place of what is there now.</p>
      <div class="buttons"><button type="button" onClick=${() => { setBase({ text, index: entry.ModifyIndex }); setDraft(text); setReview(false) }}>Take what is there</button>
      <button type="button" onClick=${() => { setBase({ text, index: entry.ModifyIndex }); setReview(true); setError(undefined) }}>Compare mine with it</button></div></div></div>`}
    <textarea id=${id} class="mono" rows=${Math.min(28, Math.max(4, draft.split('\n').length + 1))} value=${draft} spellcheck=${false} onInput=${e => { setDraft(e.target.value); setReview(false); setSaid('') }} />
    ${review && html`<${Difference} from=${base.text} to=${draft} />`}${error && html`<${Failure} error=${error} />`}
    <div class="buttons">${!review ? html`<button type="button" class="primary" disabled=${!touched} onClick=${() => setReview(true)}>Review change</button>` : html`<button type="button" class="primary" onClick=${() => write('PUT', draft)}>Save</button><button type="button" onClick=${() => setReview(false)}>Back</button>`}
      ${touched && html`<button type="button" onClick=${() => { setDraft(base.text); setReview(false) }}>Undo</button>`}
      <${Delete} name=${name} remove=${() => write('DELETE')} /><span role="status" class="muted">${said}</span></div></section>`
}

function Delete({ name, remove }) {
  const dialog = useRef(), id = useId()
  return html`<button type="button" class="danger" onClick=${() => dialog.current.showModal()}>Delete</button>
    <dialog ref=${dialog} class="dialog" aria-labelledby=${id}><h2 id=${id}>Delete this key?</h2><p><code>${name}</code> is deleted, if it is still as you see it.</p>
      <div class="buttons"><button type="button" class="danger" onClick=${() => { dialog.current.close(); remove() }}>Delete it</button><button type="button" onClick=${() => dialog.current.close()}>Keep it</button></div></dialog>`
}

function Key({ dc, name }) {
  const why = unasked(name)
  const state = useFeed(urlOf(name), { dc }, { missing: true })
  const entry = state.data?.[0], bytes = useMemo(() => decode(entry?.Value), [entry?.Value]), text = useMemo(() => textOf(bytes), [bytes])
  return html`<div class="title"><${Crumbs} dc=${dc} of=${name} /><h1>${name}</h1></div>
    ${why ? html`<${Empty} title="This key cannot be shown"><p>${why}</p></${Empty}>` : html`
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}
    ${state.data === undefined ? !state.error && html`<${Loading} what="the key" />` : !entry ? html`<${Empty} title="There is no such key"><p>It may have been deleted. <a href=${pathOfKey(dc, folderOf(name))}>What is beside it</a></p></${Empty}>` : html`
      ${!fixed(entry, text, bytes) ? html`<${Editor} dc=${dc} name=${name} entry=${entry} text=${text} />` : html`<section class="panel"><h2>Value</h2><pre class="hex" tabindex="0" aria-label="Value">${text ?? hexOf(bytes)}</pre>
        <p class="muted hint">${fixed(entry, text, bytes)}${text === undefined && bytes.length > 4096 ? ' The first 4,096 are shown.' : ''}</p></section>`}
      <section class="panel"><h2>Key</h2><${Facts} of=${[['Size', plural(bytes.length, 'byte')], ['Held by', entry.Session ? html`session <code>${entry.Session}</code>` : 'nobody'], ['Locked so far', plural(entry.LockIndex, 'time')], ['Flags', String(entry.Flags)], ['Created at index', entry.CreateIndex], ['Changed at index', entry.ModifyIndex]]} /></section>`}`}`
}

function NewKey({ dc, folder, done }) {
  const name = useId(), value = useId(), form = useRef(), [error, setError] = useState()
  const save = async e => {
    e.preventDefault()
    const key = folder + form.current.elements.name.value
    if (isFolder(key) || unasked(key)) return setError({ kind: 'invalid', message: unasked(key) || 'The name is empty or ends with a slash', hint: 'Give the name of a key, such as config/timeout.' })
    try {
      const { data } = await ask(urlOf(key), { method: 'PUT', body: form.current.elements.value.value, params: { dc, cas: '0' } })
      if (!data) return setError({ kind: 'invalid', message: `${key} is there already`, hint: 'Open it to change it.' })
      go(pathOfKey(dc, key))
    } catch (fault) { setError(fault) }
  }
  return html`<form class="panel stack" ref=${form} onSubmit=${save}><h2>New key</h2><label for=${name}>Name${folder && html`, below ${folder}`}</label><input id=${name} name="name" type="text" class="mono" autocomplete="off" autocapitalize="none" spellcheck=${false} />
    <label for=${value}>Value</label><textarea id=${value} name="value" class="mono" rows="4" spellcheck=${false} />${error && html`<${Failure} error=${error} />`}
    <div class="buttons"><button type="submit" class="primary">Make it</button><button type="button" onClick=${done}>Close</button></div></form>`
}

function Folder({ dc, folder, all }) {
  const state = useFeed(urlOf(folder), { dc, keys: true, separator: '/' }, { missing: true })
  const [text, setText] = useState(''), [making, setMaking] = useState(false)
  const list = useMemo(() => (state.data ?? []).filter(k => k !== folder), [state.data, folder])
  const shown = useMemo(() => list.filter(k => k.slice(folder.length).toLowerCase().includes(text.toLowerCase())), [list, text])
  const Row = k => html`<span role="cell" class="main"><a href=${pathOfKey(dc, k)} title=${k}>${k.slice(folder.length)}</a></span><span role="cell" class="muted">${isFolder(k) ? 'folder' : 'key'}</span>`
  return html`<div class="title"><${Crumbs} dc=${dc} of=${folder} /><h1>${folder || 'Keys'}</h1></div>
    ${!folder && html`<${Places} dc=${dc} of=${all} />`}
    <div class="tools-row"><${SearchField} label="Search in this folder" value=${text} onChange=${setText} /></div>
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}<${Hidden} metas=${[state.meta]} />
    ${making ? html`<${NewKey} dc=${dc} folder=${folder} done=${() => setMaking(false)} />` : html`<div class="buttons"><button type="button" onClick=${() => setMaking(true)}>New key</button></div>`}
    ${state.data === undefined ? !state.error && html`<${Loading} what="keys" />` : shown.length ? html`<section class="panel keys"><${List} items=${shown} height=${44} head=${['Name', 'Kind']} row=${Row} label="Keys" keyOf=${k => k} /></section>`
      : html`<${Empty} title=${list.length ? 'No key fits' : folder ? 'This folder is empty' : 'There is no key yet'}><p>${list.length ? 'Change what is searched for above.' : html`Make one above, or with <code>legate kv put</code>. What your token may not see is not shown.`}</p></${Empty}>`}`
}

export function KeysPage({ route }) {
  const all = useDatacenters(), dc = route.dc ?? settings.datacenter, key = route.search.get('key') ?? route.key ?? ''
  return isFolder(key) ? html`<${Folder} key=${dc + key} dc=${dc} folder=${key} all=${all} />` : html`<${Key} key=${dc + key} dc=${dc} name=${key} />`
}

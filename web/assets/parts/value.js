// The value of a key: looked at in its colours, and changed only as it was read.
import { html, useEffect, useId, useMemo, useRef, useState } from '../lib/dom.js'
import { ask, Fault } from '../lib/api.js'
import { download, fileName } from '../lib/download.js'
import { plural } from '../lib/fmt.js'
import { languageOf, titles } from '../lib/highlight.js'
import { jsonFault } from '../lib/json.js'
import { folderOf, lastOf, urlOf } from '../lib/kv.js'
import { go, pathOfKey } from '../lib/router.js'
import { beginning, hexOf, textOf } from '../lib/value.js'
import { Code, Difference } from './code.js'
import { Failure } from './notice.js'
import { Icon } from './state.js'

// What is drawn at first, and when all of it is asked for. A page that draws more is slow.
const first = { letters: 32 << 10, bytes: 4096 }
const most = { letters: 2 << 20, bytes: 256 << 10 }
const smooth = 128 << 10 // letters that a text field takes smoothly, and that are checked as they are typed

// Value shows the bytes of a key and what can be done with them.
export function Value({ dc, name, entry, bytes }) {
  const text = useMemo(() => textOf(bytes), [bytes]), [editing, setEditing] = useState(false)
  const write = async (method, body, index) => {
    const flags = method === 'PUT' ? String(entry.Flags) : undefined
    return (await ask(urlOf(name), { method, body, params: { dc, cas: String(index), flags } })).data
  }
  if (editing && text !== undefined) {
    return html`<${Editor} name=${name} entry=${entry} text=${text} write=${write} close=${() => setEditing(false)} />`
  }
  return html`<section class="panel value" aria-labelledby="value"><${Content} name=${name} bytes=${bytes} text=${text} />
    ${text === undefined && html`<p class="hint muted">It can be changed by the command line: legate kv put.</p>`}
    ${text?.length > smooth && html`<p class="hint muted">It is long: browsers take a moment to make it a text that can be edited.</p>`}
    <div class="buttons">
      ${text?.length <= most.letters && html`<button type="button" class="primary" onClick=${() => setEditing(true)}>Edit</button>`}
      <button type="button" onClick=${() => download(fileName(name), [bytes])}>Download</button>
      <${Delete} dc=${dc} name=${name} remove=${() => write('DELETE', undefined, entry.ModifyIndex)} /></div></section>`
}

// Content draws the beginning of a value, or all of it if somebody asks for that.
function Content({ name, bytes, text }) {
  const [all, setAll] = useState(false), plain = text !== undefined
  const limit = (all ? most : first)[plain ? 'letters' : 'bytes']
  const language = useMemo(() => plain ? languageOf(name, text) : '', [name, text])
  const fault = useMemo(() => language === 'json' ? jsonFault(text) : undefined, [language, text])
  const shown = useMemo(() => plain ? beginning(text, limit) : hexOf(bytes, limit), [bytes, text, limit])
  const cut = plain ? shown.length < text.length : bytes.length > limit
  const kind = plain ? titles[language] ?? 'text' : 'no plain text, in hexadecimal'
  return html`<div class="panel-head"><h2 id="value">Value</h2><span class="muted">${kind}, ${plural(bytes.length, 'byte')}</span></div>
    ${fault && html`<p class="hint"><${Icon} state="warning" /> It is no JSON: ${placed(fault)}.</p>`}
    ${bytes.length === 0 ? html`<p class="muted">The value is empty.</p>`
      : plain ? html`<${Code} text=${shown} language=${language} label="Content" />`
        : html`<pre class="hex" tabindex="0" role="region" aria-label="Content">${shown}</pre>`}
    ${cut && html`<p class="hint muted" role="status">
      ${all ? 'It is too long to be shown whole: download it.'
        : html`This is its beginning, ${plain ? plural(shown.length, 'letter') : plural(limit, 'byte')}.
          ${' '}<button type="button" class="small" onClick=${() => setAll(true)}>Show all</button>`}</p>`}`
}

const placed = fault => `line ${fault.line}, column ${fault.column}: ${fault.what}`

const meanwhile = new Fault('invalid', 'Nothing was changed: somebody else changed it in the meantime', 'Look at what is there now, and decide.')

// useDraft is a text that is being changed. base is what it was when it was read: a save that finds
// something else there changes nothing and says so, so that nobody overwrites another. With stale
// something else is there by now.
function useDraft({ text, entry }) {
  const [base, setBase] = useState({ text, index: entry.ModifyIndex }), [draft, setDraft] = useState(text)
  const touched = draft !== base.text, changed = entry.ModifyIndex !== base.index
  const same = text === base.text || text === draft // it is what was saved, or is being saved
  useEffect(() => {
    if (changed && (same || !touched)) setBase({ text, index: entry.ModifyIndex })
    if (changed && !touched) setDraft(text)
  }, [entry.ModifyIndex, base]) // what was saved may be heard of before the save is answered
  return {
    base, draft, touched, stale: changed && touched && !same, set: setDraft,
    takeTheirs: () => { setBase({ text, index: entry.ModifyIndex }); setDraft(text) },
    compare: () => setBase({ text, index: entry.ModifyIndex }),
    undo: () => setDraft(base.text), saved: () => setBase({ text: draft, index: base.index }),
  }
}

const Stale = ({ take, compare }) => html`<div class="notice warn" role="alert"><${Icon} state="warning" size=${20} />
  <div><p class="what">It was changed while you wrote</p><p>Your text would take the place of what is there now.</p>
    <div class="buttons"><button type="button" onClick=${take}>Take what is there</button>
      <button type="button" onClick=${compare}>Compare mine with it</button></div></div></div>`

// unsaved says that a draft is not stored, and by how much it is longer or shorter if that is soon counted.
function unsaved(from, to) {
  if (from.length + to.length > smooth) return 'Changed, not saved'
  const size = text => new TextEncoder().encode(text).length, more = size(to) - size(from)
  return `Changed, not saved (${more === 0 ? 'as long as before' : `${more > 0 ? '+' : '−'}${plural(Math.abs(more), 'byte')}`})`
}

function Editor({ name, entry, text, write, close }) {
  const id = useId(), field = useRef(), d = useDraft({ text, entry })
  const [review, setReview] = useState(false), [error, setError] = useState(), [said, setSaid] = useState('')
  useEffect(() => { field.current.focus({ preventScroll: true }); field.current.setSelectionRange(0, 0) }, [])
  const language = useMemo(() => languageOf(name, d.base.text), [name, d.base.text])
  const checked = language === 'json' && (review || d.draft.length < smooth)
  const fault = useMemo(() => checked ? jsonFault(d.draft) : undefined, [checked, d.draft])
  const rows = useMemo(() => Math.min(28, Math.max(4, d.draft.split('\n', 30).length + 1)), [d.draft])
  const save = async () => {
    setError(undefined)
    try {
      if (!await write('PUT', d.draft, d.base.index)) return setError(meanwhile)
      setReview(false)
      d.saved()
      setSaid('Saved.')
    } catch (fault) { setError(fault) }
  }
  const take = () => { d.takeTheirs(); setReview(false) }, compare = () => { d.compare(); setReview(true); setError(undefined) }
  const type = e => { d.set(e.target.value); setReview(false); setSaid('') }
  return html`<section class="panel value" aria-labelledby="value">
    <div class="panel-head"><h2 id="value"><label for=${id}>Value</label></h2><span class="muted">${titles[language]}</span></div>
    ${d.stale && html`<${Stale} take=${take} compare=${compare} />`}
    <textarea id=${id} ref=${field} class="mono" rows=${rows} spellcheck=${false} value=${d.draft} onInput=${type}
      aria-describedby=${id + '-fault'} />
    <p id=${id + '-fault'} class="hint" role="status">
      ${fault && html`<${Icon} state="warning" /> This is no JSON: ${placed(fault)}. It can be saved all the same.`}</p>
    ${review && html`<${Difference} from=${d.base.text} to=${d.draft} />`}${error && html`<${Failure} error=${error} />`}
    <div class="buttons">
      ${review ? html`<button type="button" class="primary" onClick=${save}>Save</button>
          <button type="button" onClick=${() => setReview(false)}>Back</button>`
        : html`<button type="button" class="primary" disabled=${!d.touched} onClick=${() => setReview(true)}>Review change</button>`}
      ${d.touched ? html`<button type="button" onClick=${() => { d.undo(); setReview(false) }}>Discard my edit</button>`
        : html`<button type="button" onClick=${close}>Close</button>`}
      <span role="status" class="muted">${d.touched ? unsaved(d.base.text, d.draft) : said}</span></div></section>`
}

function Delete({ dc, name, remove }) {
  const dialog = useRef(), id = useId(), [error, setError] = useState()
  const sure = async () => {
    dialog.current.close()
    try {
      if (await remove()) go(pathOfKey(dc, folderOf(name)))
      else setError(meanwhile)
    } catch (fault) { setError(fault) }
  }
  return html`<button type="button" class="danger" onClick=${() => dialog.current.showModal()}>Delete</button>
    ${error && html`<${Failure} error=${error} />`}
    <dialog ref=${dialog} class="dialog" aria-labelledby=${id}><h2 id=${id}>Delete this key?</h2>
      <p><code>${lastOf(name)}</code> is deleted, if it is still as you see it.</p>
      <div class="buttons"><button type="button" class="danger" onClick=${sure}>Delete it</button>
        <button type="button" onClick=${() => dialog.current.close()}>Keep it</button></div></dialog>`
}

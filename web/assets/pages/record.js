// A policy, a token or a role that is made or changed. What changes is shown before it is saved, and
// it is saved only if the record is still as it was read.
import { html, useEffect, useMemo, useState } from '../lib/dom.js'
import { ask, Fault } from '../lib/api.js'
import { useFeed } from '../lib/feed.js'
import { path } from '../lib/router.js'
import { bodyOf, isBuiltIn, linesOf, sameAs } from '../lib/records.js'
import { Difference } from '../parts/code.js'
import { Failure, Empty, Loading } from '../parts/notice.js'
import { Facts } from '../parts/checks.js'
import { PolicyFields, RoleFields, TokenFields } from '../parts/fields.js'
import { useMay } from '../parts/rights.js'
import { useReading } from '../parts/rules.js'
import { Secret } from '../parts/secret.js'
import { Icon } from '../parts/state.js'

// kinds are what can be edited here: the path of one, what names it, a new one, its fields.
const kinds = {
  policies: { one: 'policy', path: 'acl/policy', id: 'ID', blank: { Name: '', Description: '', Rules: '' }, Fields: PolicyFields },
  tokens: { one: 'token', path: 'acl/token', id: 'AccessorID', blank: { Description: '', Local: false }, Fields: TokenFields },
  roles: { one: 'role', path: 'acl/role', id: 'ID', blank: { Name: '', Description: '' }, Fields: RoleFields },
}

export const isEdited = view => view in kinds

// read asks for a record where it is written: what is global is a copy in all datacenters but one. A
// token that counts here alone reads the copy.
async function read(dc, at, base) {
  const there = dc => ask(at, { params: { dc, consistent: true } }).then(({ data }) => data)
  const home = base.Local ? dc : (await ask('acl/replication', { params: { dc } })).data.SourceDatacenter || dc
  return there(home).catch(fault => {
    if (fault.kind === 'token' && home !== dc) return there(dc)
    if (fault.kind === 'missing') throw new Fault('conflict', 'Nothing was saved: somebody deleted it in the meantime', 'If it is still needed, make a new one.')
    throw fault
  })
}

// save writes a draft, and throws a Fault if what is there is not base any more; now is what is there.
async function save(dc, kind, base, draft) {
  const id = base[kind.id], at = kind.path + (id ? '/' + encodeURIComponent(id) : '')
  if (id) {
    const now = await read(dc, at, base)
    if (!sameAs(now, base)) {
      const fault = new Fault('conflict', 'Nothing was saved: somebody else changed it in the meantime', 'Look at what is there now, and decide.')
      throw Object.assign(fault, { now: { ...kind.blank, ...now } })
    }
  }
  return (await ask(at, { method: 'PUT', params: { dc }, body: JSON.stringify(bodyOf(draft)) })).data
}

const Changed = ({ onTake, onCompare }) => html`<div class="notice warn" role="alert"><${Icon} state="warning" size=${20} /><div>
  <p class="what">It was changed while you wrote</p><p>What you wrote would take the place of what is there now.</p>
  <div class="buttons"><button type="button" onClick=${onTake}>Take what is there</button>
    <button type="button" onClick=${onCompare}>Compare mine with it</button></div></div></div>`

// useDraft is a record as it was read (base), as it is by now, and as somebody wants it.
function useDraft(view, record) {
  const [base, setBase] = useState(record), [draft, setDraft] = useState(record), [now, setNow] = useState(record)
  const from = linesOf(view, base).join('\n'), to = linesOf(view, draft).join('\n'), touched = from !== to
  useEffect(() => setNow(record), [record]) // a newer reading
  useEffect(() => { if (!touched && !sameAs(now, base)) { setBase(now); setDraft(now) } }, [now])
  const rebase = keep => { setBase(now); if (!keep) setDraft(now) }
  return { base, draft, now, from, to, touched, setDraft, setNow, rebase }
}

function Editor({ dc, view, record, onSaved }) {
  const kind = kinds[view], d = useDraft(view, record), made = !!d.base[kind.id]
  const [review, setReview] = useState(false), [error, setError] = useState(), [busy, setBusy] = useState(false)
  const reading = useReading(dc, view === 'policies' ? d.draft.Rules : undefined)
  const unread = view === 'policies' && !reading.error && (reading.faults > 0 || reading.of !== d.draft.Rules)
  const change = draft => { d.setDraft(draft); setReview(false) }
  const rebase = keep => () => { d.rebase(keep); setReview(keep); setError(undefined) }
  const undo = () => { change(d.base); setError(undefined) }
  const write = async () => {
    setBusy(true)
    setError(undefined)
    try {
      onSaved(await save(dc, kind, d.base, d.draft))
    } catch (fault) {
      if (fault.now) d.setNow(fault.now)
      setError(fault)
    }
    setBusy(false)
  }
  return html`<section class="panel stack edit" aria-label=${`The ${kind.one}`}>
    ${made && d.touched && !sameAs(d.now, d.base) && html`<${Changed} onTake=${rebase(false)} onCompare=${rebase(true)} />`}
    <${kind.Fields} key=${d.base.Hash} dc=${dc} draft=${d.draft} set=${change} made=${made} reading=${reading}
      fixed=${view === 'policies' && isBuiltIn(d.base.ID)} />
    ${review && html`<h2>${made ? 'What changes' : 'What is made'}</h2><${Difference} from=${made ? d.from : null} to=${d.to} />`}
    ${error && html`<${Failure} error=${error} />`}
    <div class="buttons">
      ${review ? html`<button type="button" class="primary" disabled=${busy} onClick=${write}>${made ? 'Save' : `Make the ${kind.one}`}</button>
          <button type="button" onClick=${() => setReview(false)}>Back</button>`
        : html`<button type="button" class="primary" disabled=${!d.touched || unread} onClick=${() => setReview(true)}>Review</button>`}
      ${d.touched ? html`<button type="button" onClick=${undo}>Undo</button>` : html`<span class="muted">Nothing is changed yet.</span>`}
      <a class="button" href=${path(dc, 'acls', view)}>Cancel</a></div></section>`
}

// Saved says what was done; the secret of a new token is shown to who asks for it.
const Saved = ({ dc, view, record, made }) => html`<section class="panel stack" aria-label="Saved">
  <p class="headline good" role="status"><${Icon} state="good" size=${20} />
    <b>The ${kinds[view].one} ${record.Name || record.Description || record.AccessorID} is ${made ? 'made' : 'saved'}.</b></p>
  ${view === 'tokens' && html`<${Facts} of=${[['Accessor ID', html`<code>${record.AccessorID}</code>`]]} />`}
  ${view === 'tokens' && made && html`<p>Its SecretID is what programs show. Who has it has the rights of the token: keep it where others
    do not read it. This page forgets it when you leave.</p><${Secret} of=${record.SecretID} name="SecretID" />`}
  <div class="buttons"><a class="button" href=${path(dc, 'acls', view)}>All ${view}</a></div></section>`

function Existing({ dc, view, id, onSaved }) {
  const kind = kinds[view], state = useFeed(`${kind.path}/${encodeURIComponent(id)}`, { dc })
  const record = useMemo(() => state.data && { ...kind.blank, ...state.data }, [state.data])
  if (record) return html`<${Editor} dc=${dc} view=${view} record=${record} onSaved=${onSaved} />`
  if (!state.error) return html`<${Loading} what=${`the ${kind.one}`} />`
  if (state.error.kind !== 'missing') return html`<${Failure} error=${state.error} />`
  return html`<${Empty} title=${`There is no such ${kind.one}`}><p>It may have been deleted. <a href=${path(dc, 'acls', view)}>All ${view}</a></p></${Empty}>`
}

function Body({ dc, view, id, onSaved }) {
  const may = useMay(dc, 'acl', 'write'), blank = useMemo(() => ({ ...kinds[view].blank }), [view])
  if (may === undefined) return html`<${Loading} what="your rights" />`
  if (!may) return html`<${Empty} title="This token may not change access control"><p>It takes <code>acl = "write"</code>. Give another token above.</p></${Empty}>`
  return id === 'create' ? html`<${Editor} dc=${dc} view=${view} record=${blank} onSaved=${onSaved} />`
    : html`<${Existing} dc=${dc} view=${view} id=${id} onSaved=${onSaved} />`
}

export function RecordPage({ dc, view, id }) {
  const { one } = kinds[view], made = id === 'create', [saved, setSaved] = useState()
  const onSaved = record => { setSaved(record); window.scrollTo(0, 0) }
  return html`<div class="title"><p class="crumbs"><a href=${path(dc, 'acls', view)}>Access</a> / ${dc}</p>
      <h1>${made ? `New ${one}` : `Change a ${one}`}</h1></div>
    ${saved ? html`<${Saved} dc=${dc} view=${view} record=${saved} made=${made} />` : html`<${Body} dc=${dc} view=${view} id=${id} onSaved=${onSaved} />`}`
}

// Sessions of one, several or all datacenters, and what ends with them.
import { html, useMemo, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { useFeed, useFeeds } from '../lib/feed.js'
import { path, pathOfKey, setSearch } from '../lib/router.js'
import { byName, plural } from '../lib/fmt.js'
import { Failure, Empty, Loading, Hidden, Aged } from '../parts/notice.js'
import { Facts } from '../parts/checks.js'
import { Choice, chosen, useDatacenters } from '../parts/dcs.js'
import { Dialog } from '../parts/dialog.js'
import { SearchField } from '../parts/search.js'
import { List, useNarrow } from '../parts/virtual.js'

const seconds = ns => ns > 0 ? `${+(ns / 1e9).toFixed(3)} s` : 'none'
const deletes = s => s.Behavior === 'delete'

// fate is what becomes of keys that a session holds when it ends.
function fate(s, many) {
  const [are, them] = many ? ['they are', 'them'] : ['it is', 'it']
  const later = s.LockDelay > 0 ? `, and nobody can lock ${them} for ${seconds(s.LockDelay)}` : ''
  return `${are} ${deletes(s) ? 'deleted' : 'unlocked and kept'}${later}`
}

const count = held => `${held.More ? 'More than ' : ''}${plural(held.Keys.length, 'key')}`

// Held lists the keys that a session holds, as they are now.
function Held({ s, state: { data, error, meta } }) {
  if (!data) return error ? html`<${Failure} error=${error} />` : html`<${Loading} what="its keys" />`
  const n = data.Keys.length, none = meta.hidden ? 'None that your token may read.' : 'None.'
  return html`${error && html`<${Failure} error=${error} kept=${meta} />`}
    <h3>Keys that it holds</h3>
    <p>${n === 0 ? none : `${count(data)}. When the session ends, ${fate(s, n > 1 || data.More)}.`}</p>
    ${n > 0 && html`<ul class="plain mono held">${data.Keys.map(k => html`
      <li key=${k.Key}><a href=${pathOfKey(s.dc, k.Key)}>${k.Key}</a></li>`)}</ul>`}
    ${data.More && html`<p class="muted">It holds more: these are the first.</p>`}<${Hidden} metas=${[meta]} />`
}

function Session({ s, onClose }) {
  const held = useFeed('session/keys/' + encodeURIComponent(s.ID), { dc: s.dc })
  const [sure, setSure] = useState(false), [error, setError] = useState(), [busy, setBusy] = useState(false)
  const destroy = async () => {
    if (!sure) return setSure(true)
    setBusy(true)
    try {
      await ask('session/destroy/' + encodeURIComponent(s.ID), { method: 'PUT', params: { dc: s.dc } })
      onClose()
    } catch (fault) {
      setError(fault)
      setBusy(false)
    }
  }
  const hidden = held.meta?.hidden ? ', and those that your token may not read' : ''
  const what = held.data?.Keys.length ? count(held.data).toLowerCase() + hidden : 'the keys that it holds'
  return html`<${Dialog} title=${s.Name || 'Session without a name'} onClose=${onClose} buttons=${html`<button type="button" class="danger" disabled=${busy} onClick=${destroy}>${sure ? 'Destroy it now' : 'Destroy …'}</button>`}>
    <${Facts} of=${[['ID', html`<code>${s.ID}</code>`], ['Node', html`<a href=${path(s.NodeDatacenter || s.dc, 'nodes', s.Node)}>${s.Node}</a>`], ['Datacenter', s.dc], ['When it ends, keys are', deletes(s) ? 'deleted' : 'released'], ['TTL', s.TTL || 'none'], ['Lock delay', seconds(s.LockDelay)],
      ['Ends with checks', [...(s.NodeChecks ?? []), ...(s.ServiceChecks ?? []).map(c => c.ID)].join(', ') || 'none'], ['Made at index', s.CreateIndex.toLocaleString('en')]]} />
    <${Held} s=${s} state=${held} />
    ${sure && html`<p class="notice warn" role="alert">This ${deletes(s) ? 'deletes' : 'releases'} ${what}. ${s.LockDelay > 0 ? `Nobody can lock them for ${seconds(s.LockDelay)} then. ` : ''}Who made the session is not asked.</p>`}
    ${error && html`<${Failure} error=${error} />`}</${Dialog}>`
}

const row = open => s => html`
  <span role="cell" class="main"><button type="button" class="link" aria-haspopup="dialog" onClick=${() => open(s)} title=${s.Name}>${s.Name || 'without a name'}</button><small class="mono">${s.ID}</small></span>
  <span role="cell" class="places"><a class="place" href=${path(s.NodeDatacenter || s.dc, 'nodes', s.Node)}>${s.Node}</a><span class="muted">${s.dc}</span></span>
  <span role="cell" class="second">${s.TTL ? `TTL ${s.TTL}` : 'no TTL'}</span>
  <span role="cell" class="second">${deletes(s) ? 'deletes keys' : 'releases keys'}</span>
  <span role="cell" class="second">index ${s.CreateIndex.toLocaleString('en')}</span>`

export function SessionsPage({ route }) {
  const all = useDatacenters(), picked = chosen(route, all), text = (route.search.get('q') ?? '').toLowerCase(), narrow = useNarrow(), [opened, open] = useState()
  const states = useFeeds(picked.map(dc => ({ path: 'session/list', params: { dc, cached: true } })))
  const asked = picked.map((dc, i) => ({ dc, state: states[i] })), failed = asked.filter(a => a.state.error && a.state.data === undefined)
  const rows = useMemo(() => asked.flatMap(a => (a.state.data ?? []).map(s => ({ ...s, dc: a.dc, text: [s.ID, s.Name, s.Node, s.TTL, s.Behavior].join(' ').toLowerCase() })))
    .sort((a, b) => byName.compare(a.dc, b.dc) || b.CreateIndex - a.CreateIndex), states.map(s => s.data))
  const shown = useMemo(() => rows.filter(r => text.split(/\s+/).every(w => r.text.includes(w))), [rows, text])
  const Row = useMemo(() => row(open), [])
  return html`<div class="title"><h1>Sessions</h1><p class="muted">A session holds locks on keys. When it ends, they are released or deleted.</p></div>
    <${Choice} page="sessions" route=${route} all=${all} picked=${picked} />
    <${SearchField} label="Search names, IDs and nodes" value=${route.search.get('q') ?? ''} onChange=${q => setSearch({ q })} />
    ${failed.map(a => html`<${Failure} key=${a.dc} error=${a.state.error} />`)}<${Hidden} metas=${states.map(s => s.meta)} /><${Aged} of=${asked} />
    ${states.every(s => !s.data && !s.error) ? html`<${Loading} what="sessions" />` : shown.length ? html`<section class="panel sessions" aria-label="Sessions"><p class="muted count-of" role="status">${plural(shown.length, 'session')}, the newest first</p><${List} items=${shown} height=${narrow ? 124 : 56} head=${['Session', 'Node', 'TTL', 'At its end', 'Made at index']} row=${Row} label="Sessions" keyOf=${s => s.dc + s.ID} /></section>`
      : failed.length < asked.length && html`<${Empty} title=${rows.length ? 'No session fits' : states.some(s => s.meta?.hidden) ? 'No session is shown to this token' : 'There is no session'}><p>${rows.length ? 'Change what is searched for above.' : states.some(s => s.meta?.hidden) ? 'There are some that it may not see: it takes session_prefix with read.' : html`Programs make them to hold locks; <code>legate lock PREFIX COMMAND</code> is one.`}</p></${Empty}>`}
    ${opened && html`<${Session} key=${opened.ID} s=${opened} onClose=${() => open(undefined)} />`}`
}

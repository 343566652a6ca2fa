// Sessions of one, several or all datacenters, and what ends with them.
import { html, useMemo, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { useFeeds } from '../lib/feed.js'
import { path, setSearch } from '../lib/router.js'
import { byName, plural } from '../lib/fmt.js'
import { Failure, Empty, Loading, Hidden, Aged } from '../parts/notice.js'
import { Facts } from '../parts/checks.js'
import { Choice, chosen, useDatacenters } from '../parts/dcs.js'
import { Dialog } from '../parts/dialog.js'
import { SearchField } from '../parts/search.js'
import { List, useNarrow } from '../parts/virtual.js'

const shownKeys = 50
const seconds = ns => ns > 0 ? `${+(ns / 1e9).toFixed(3)} s` : 'none'
const deletes = s => s.Behavior === 'delete'

// Held finds the keys that a session holds below a prefix: no question of the API names them all.
function Held({ s, found, onFound }) {
  const [prefix, setPrefix] = useState(''), [error, setError] = useState(), [busy, setBusy] = useState(false)
  const look = async e => {
    e.preventDefault()
    if (!prefix) return setError({ message: 'The field is empty.', hint: 'To look at all keys would read all values.' })
    setBusy(true)
    setError(undefined)
    try {
      const { data } = await ask('kv/' + prefix.split('/').map(encodeURIComponent).join('/'), { params: { dc: s.dc, recurse: true } })
      onFound({ prefix, keys: data.filter(k => k.Session === s.ID).map(k => k.Key) })
    } catch (fault) {
      if (fault.kind === 'missing') onFound({ prefix, keys: [] })
      else setError(fault)
    }
    setBusy(false)
  }
  return html`<form onSubmit=${look} class="stack" novalidate>
    <p>Which keys it holds is read from the keys themselves. Name a prefix that they are below.</p>
    <label for="held">Look below the prefix</label>
    <div class="beside"><input id="held" type="text" class="mono" value=${prefix} onInput=${e => setPrefix(e.target.value)} placeholder="service/" spellcheck=${false} autocomplete="off" autocapitalize="none" aria-describedby="held-error" /><button type="submit" disabled=${busy}>Look</button></div>
    <p id="held-error" class="field-error" role="alert">${error && `${error.message} ${error.hint}`}</p>
    <div role="status">${found && (found.keys.length === 0 ? html`<p>It holds no key below <code>${found.prefix}</code> that your token may read.</p>` : html`<p>It holds ${plural(found.keys.length, 'key')} below <code>${found.prefix}</code>:</p>
      <ul class="plain mono held">${found.keys.slice(0, shownKeys).map(k => html`<li key=${k}>${k}</li>`)}</ul>${found.keys.length > shownKeys && html`<p class="muted">and ${(found.keys.length - shownKeys).toLocaleString('en')} more</p>`}`)}</div></form>`
}

function Session({ s, onClose }) {
  const [found, setFound] = useState(), [sure, setSure] = useState(false), [error, setError] = useState(), [busy, setBusy] = useState(false)
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
  const what = found?.keys.length ? `${plural(found.keys.length, 'key')} below ${found.prefix}, and whatever else it holds` : 'the keys that it holds'
  return html`<${Dialog} title=${s.Name || 'Session without a name'} onClose=${onClose} buttons=${html`<button type="button" class="danger" disabled=${busy} onClick=${destroy}>${sure ? 'Destroy it now' : 'Destroy …'}</button>`}>
    <${Facts} of=${[['ID', html`<code>${s.ID}</code>`], ['Node', html`<a href=${path(s.NodeDatacenter || s.dc, 'nodes', s.Node)}>${s.Node}</a>`], ['Datacenter', s.dc], ['When it ends, keys are', deletes(s) ? 'deleted' : 'released'], ['TTL', s.TTL || 'none'], ['Lock delay', seconds(s.LockDelay)],
      ['Ends with checks', [...(s.NodeChecks ?? []), ...(s.ServiceChecks ?? []).map(c => c.ID)].join(', ') || 'none'], ['Made at index', s.CreateIndex.toLocaleString('en')]]} />
    <${Held} s=${s} found=${found} onFound=${setFound} />
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
    ${states.every(s => !s.data && !s.error) ? html`<${Loading} what="sessions" />` : shown.length ? html`<section class="panel sessions" aria-label="Sessions"><p class="muted count-of" role="status">${plural(shown.length, 'session')}, the newest first</p><${List} items=${shown} height=${narrow ? 124 : 56} head=${['Session', 'Node', 'TTL', 'When it ends', 'Made at']} row=${Row} label="Sessions" keyOf=${s => s.dc + s.ID} /></section>`
      : failed.length < asked.length && html`<${Empty} title=${rows.length ? 'No session fits' : states.some(s => s.meta?.hidden) ? 'No session is shown to this token' : 'There is no session'}><p>${rows.length ? 'Change what is searched for above.' : states.some(s => s.meta?.hidden) ? 'There are some that it may not see: it takes session_prefix with read.' : html`Programs make them to hold locks; <code>legate lock PREFIX COMMAND</code> is one.`}</p></${Empty}>`}
    ${opened && html`<${Session} key=${opened.ID} s=${opened} onClose=${() => open(undefined)} />`}`
}

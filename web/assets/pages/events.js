// User events that this agent heard of.
import { html, useMemo, useState } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { payloadOf } from '../lib/payload.js'
import { settings } from '../lib/settings.js'
import { setSearch } from '../lib/router.js'
import { plural } from '../lib/fmt.js'
import { Failure, Empty, Loading, Hidden } from '../parts/notice.js'
import { Facts } from '../parts/checks.js'
import { Dialog } from '../parts/dialog.js'
import { Picks } from '../parts/picks.js'
import { SearchField } from '../parts/search.js'
import { List, useNarrow } from '../parts/virtual.js'

const filters = e => [['nodes', e.NodeFilter], ['services', e.ServiceFilter], ['tags', e.TagFilter]].filter(([, v]) => v)

function Event({ e, onClose }) {
  const [as, setAs] = useState('text'), p = payloadOf(e.Payload, as === 'hex')
  return html`<${Dialog} title=${e.Name} onClose=${onClose}>
    <${Facts} of=${[['ID', html`<code>${e.ID}</code>`], ['Lamport time', e.LTime], ...filters(e).map(([k, v]) => [`For ${k} like`, html`<code>${v}</code>`]), ['Payload', plural(p.size, 'byte')]]} />
    ${p.size > 0 && html`<${Picks} label="Payload as" value=${p.hex ? 'hex' : 'text'} onChange=${setAs} of=${[['text', 'Text'], ['hex', 'Hex']]} />${p.hex && as === 'text' && html`<p class="muted">The payload is no text.</p>`}
      <pre class="rules" tabindex="0" aria-label="Payload">${p.text}</pre>${p.cut && html`<p class="muted">The first 4,096 bytes.</p>`}`}</${Dialog}>`
}

const rowOf = open => e => html`
  <span role="cell" class="main"><button type="button" class="link" aria-haspopup="dialog" onClick=${() => open(e)} title=${e.Name}>${e.Name}</button><small class="mono">${e.ID}</small></span>
  <span role="cell" class="main"><span class="mono clip" title=${e.shown.text.slice(0, 200)}>${e.shown.hex && html`<span class="tag">hex</span> `}${e.shown.text.slice(0, 200) || html`<span class="muted">no payload</span>`}</span></span>
  <span role="cell" class="second">${filters(e).map(([k, v]) => `${k} ${v}`).join(', ') || 'all agents'}</span>
  <span role="cell" class="second"><span class="sr">Lamport time </span>${e.LTime}</span>`

export function EventsPage({ route }) {
  const state = useFeed('event/list', {}, { every: 2000 }), text = (route.search.get('q') ?? '').toLowerCase(), [opened, open] = useState(), narrow = useNarrow()
  const rows = useMemo(() => [...state.data ?? []].reverse().map(e => ({ ...e, shown: payloadOf(e.Payload) })), [state.data])
  const shown = rows.filter(e => text.split(/\s+/).every(w => `${e.Name} ${e.ID} ${e.shown.text}`.toLowerCase().includes(w))), Row = useMemo(() => rowOf(open), [])
  return html`<div class="title"><h1>Events</h1><p class="muted">What ${settings.node} heard and was meant for, the newest first. An agent keeps the last 256.</p></div>
    <${SearchField} label="Search names and payloads" value=${route.search.get('q') ?? ''} onChange=${q => setSearch({ q })} />
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}<${Hidden} metas=${[state.meta]} />
    ${!state.data ? !state.error && html`<${Loading} what="events" />` : shown.length ? html`<section class="panel events" aria-label="Events"><p class="muted count-of" role="status">${plural(shown.length, 'event')}</p><${List} items=${shown} height=${narrow ? 124 : 56} head=${['Event', 'Payload', 'For', 'Lamport time']} row=${Row} label="Events" keyOf=${e => e.ID} /></section>`
      : html`<${Empty} title=${rows.length ? 'No event fits' : state.meta.hidden ? 'No event is shown to this token' : 'No event was heard'}><p>${rows.length ? 'Change what is searched for above.' : state.meta.hidden ? 'There are some that it may not see: it takes event_prefix with read.' : html`Fire one with <code>legate event -name=deploy PAYLOAD</code>.`}</p></${Empty}>`}
    ${opened && html`<${Event} key=${opened.ID} e=${opened} onClose=${() => open(undefined)} />`}`
}

// Prepared queries of a datacenter: what they ask, and what they answer now.
import { html, useMemo, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { useFeed } from '../lib/feed.js'
import { settings } from '../lib/settings.js'
import { path, setSearch } from '../lib/router.js'
import { byName, hostPort, plural } from '../lib/fmt.js'
import { Failure, Empty, Loading, Hidden, Aged } from '../parts/notice.js'
import { Facts, count } from '../parts/checks.js'
import { useDatacenters } from '../parts/dcs.js'
import { Dialog } from '../parts/dialog.js'
import { Links } from '../parts/picks.js'
import { SearchField } from '../parts/search.js'
import { Bar, Icon } from '../parts/state.js'
import { List, useNarrow } from '../parts/virtual.js'

const shownInstances = 50

// failover says in words where a query goes on when nobody is there.
function failover(f) {
  const parts = [f?.NearestN > 0 && `the ${f.NearestN} nearest`, ...(f?.Datacenters ?? []), ...(f?.Targets ?? []).map(t => t.Datacenter || (t.Peer && `peer ${t.Peer}`))].filter(Boolean)
  return parts.length ? parts.join(', ') : 'nowhere'
}

const Answer = ({ dc, a }) => html`<p class="headline"><${Icon} state=${a.Nodes.length ? 'good' : 'warn'} /> <b>${a.Nodes.length ? plural(a.Nodes.length, 'instance') : 'No instance'} of ${a.Service}</b> <span>answered by ${a.Datacenter || dc}${a.Failovers > 0 ? `, since ${dc}${a.Failovers > 1 ? ` and ${plural(a.Failovers - 1, 'datacenter')} more` : ''} had none` : ''}.</span></p>
  ${a.Nodes.length > 0 && html`<table class="list cards"><thead><tr><th scope="col">Instance</th><th scope="col">Node</th><th scope="col">Address</th><th scope="col">Checks</th></tr></thead>
    <tbody>${a.Nodes.slice(0, shownInstances).map(n => html`<tr key=${n.Node.Node + ' ' + n.Service.ID}><th scope="row">${n.Service.ID}</th><td data-label="Node">${n.Node.Node}</td>
      <td data-label="Address" class="mono">${hostPort(n.Service.Address || n.Node.Address, n.Service.Port)}</td><td data-label="Checks"><${Bar} of=${count(n.Checks ?? [])} /></td></tr>`)}</tbody></table>`}
  ${a.Nodes.length > shownInstances && html`<p class="muted">and ${plural(a.Nodes.length - shownInstances, 'instance')} more</p>`}`

// Try carries a query out: a template by the name that somebody would ask for.
function Try({ dc, q }) {
  const [name, setName] = useState(q.Name), [answer, setAnswer] = useState(), [error, setError] = useState(), [busy, setBusy] = useState(false)
  const run = async e => {
    e.preventDefault()
    setBusy(true)
    setError(undefined)
    try {
      setAnswer((await ask(`query/${encodeURIComponent(q.Template?.Type ? name : q.ID)}/execute`, { params: { dc } })).data)
    } catch (fault) {
      setAnswer(undefined)
      setError(fault)
    }
    setBusy(false)
  }
  return html`<h3>Try it</h3><form onSubmit=${run} class="ask" novalidate>${q.Template?.Type && html`<label class="grow">Name that is asked for <input type="text" class="mono" value=${name} onInput=${e => setName(e.target.value)} spellcheck=${false} autocomplete="off" autocapitalize="none" /></label>`}
    <button type="submit" class="primary" disabled=${busy}>Ask now</button></form>
    <div class="answer" role="status">${answer && html`<${Answer} dc=${dc} a=${answer} />`}</div>${error && html`<${Failure} error=${error} />`}`
}

const list = l => l?.length ? l.join(', ') : undefined
const pairs = m => list(Object.entries(m ?? {}).map(([k, v]) => `${k}=${v}`))

const Query = ({ dc, q, onClose }) => html`<${Dialog} title=${q.Name || 'Query without a name'} onClose=${onClose}>
  <${Facts} of=${[['ID', html`<code>${q.ID}</code>`], ['Asks for', html`<code>${q.Service.Service}</code>`], ['Tags', list(q.Service.Tags)], ['Instances', q.Service.OnlyPassing ? 'passing alone' : 'passing and warning'], ['Sorted by nearness to', q.Service.Near],
    ['If nobody is there', failover(q.Service.Failover)], ['Node metadata', pairs(q.Service.NodeMeta)], ['Service metadata', pairs(q.Service.ServiceMeta)], ['Template', q.Template?.Type], ['Expression', q.Template?.Regexp && html`<code>${q.Template.Regexp}</code>`],
    ['TTL in DNS', q.DNS?.TTL], ['Ends with session', q.Session && html`<code>${q.Session}</code>`], ['Carried out with', q.Token ? 'a token of its own' : 'the token of who asks'],
    ['Name in DNS', q.Name && !q.Template?.Type && html`<code>${q.Name}.query.${dc}.${settings.domain}</code>`]]} /><${Try} dc=${dc} q=${q} /></${Dialog}>`

const rowOf = open => q => html`
  <span role="cell" class="main"><button type="button" class="link" aria-haspopup="dialog" onClick=${() => open(q)} title=${q.Name}>${q.Name || 'without a name'}</button><small class="mono">${q.ID}</small></span>
  <span role="cell" class="main"><span class="clip">${q.Service.Service} ${(q.Service.Tags ?? []).map(t => html`<span class="tag">${t}</span> `)}</span></span>
  <span role="cell" class="second">${q.Template?.Type ? 'template' : 'query'}</span>
  <span role="cell" class="second clip">${failover(q.Service.Failover)}</span>`

export function QueriesPage({ route }) {
  const all = useDatacenters(), dc = route.dc ?? settings.datacenter, state = useFeed('query', { dc }), text = (route.search.get('q') ?? '').toLowerCase(), [opened, open] = useState(), narrow = useNarrow()
  const rows = useMemo(() => [...state.data ?? []].sort((a, b) => byName.compare(a.Name, b.Name)), [state.data]), Row = useMemo(() => rowOf(open), [])
  const shown = rows.filter(q => text.split(/\s+/).every(w => `${q.Name} ${q.ID} ${q.Service.Service}`.toLowerCase().includes(w))), hidden = state.meta?.hidden
  return html`<div class="title"><h1>Prepared queries</h1></div>
    <${Links} label="Datacenters" of=${all.map(d => [d, path(d, 'queries'), d === dc])} />
    <${SearchField} label="Search names, IDs and services" value=${route.search.get('q') ?? ''} onChange=${q => setSearch({ q })} />
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}<${Hidden} metas=${[state.meta]} /><${Aged} of=${[{ dc, state }]} />
    ${!state.data ? !state.error && html`<${Loading} what="queries" />` : shown.length ? html`<section class="panel queries" aria-label="Queries"><p class="muted count-of" role="status">${plural(shown.length, 'query', 'queries')}</p><${List} items=${shown} height=${narrow ? 124 : 56} head=${['Query', 'Asks for', 'Kind', 'If nobody is there']} row=${Row} label="Queries" keyOf=${q => q.ID} /></section>`
      : html`<${Empty} title=${rows.length ? 'No query fits' : hidden ? 'No query is shown to this token' : 'There is no prepared query'}><p>${rows.length ? 'Change what is searched for above.' : hidden ? 'There are some that it may not see: it takes query_prefix with read; those without a name take acl = "write".' : html`Programs make them by <code>POST /v1/query</code>. They answer by HTTP and DNS, and go on in other datacenters.`}</p></${Empty}>`}
    ${opened && html`<${Query} key=${opened.ID} dc=${dc} q=${opened} onClose=${() => open(undefined)} />`}`
}

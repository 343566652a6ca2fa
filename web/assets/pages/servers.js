// The servers of a datacenter, its Raft group and autopilot, and who is in the gossip pools.
import { html, useMemo } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { settings } from '../lib/settings.js'
import { path, setSearch } from '../lib/router.js'
import { ms, plural, span } from '../lib/fmt.js'
import { estimate } from '../lib/coords.js'
import { duration, headline, join, members, milliseconds } from '../lib/servers.js'
import { State, Icon } from '../parts/state.js'
import { Failure, Empty, Loading, Hidden } from '../parts/notice.js'
import { Facts } from '../parts/checks.js'
import { useDatacenters } from '../parts/dcs.js'
import { Links, Picks } from '../parts/picks.js'
import { SearchField } from '../parts/search.js'
import { Snapshot } from '../parts/snapshot.js'
import { List, useNarrow } from '../parts/virtual.js'

const seconds = since => { const t = Date.parse(since ?? ''); return t > 0 ? span(Math.max(0, (Date.now() - t) / 1000)) : '–' }
const role = r => r.leader ? 'leader' : r.replica ? 'read replica' : r.voter ? 'voter' : 'not voting yet'

const Server = ({ dc, r }) => html`<tr>
  <th scope="row"><a href=${path(dc, 'nodes', r.name)}>${r.name}</a><small class="mono">${r.address}</small></th>
  <td data-label="State"><div><${State} state=${r.well ? 'good' : 'bad'} word=${!r.told ? 'peer' : r.well ? 'healthy' : 'ill'} />${r.reasons.map(why => html`<small>${why}</small>`)}</div></td>
  <td data-label="Role"><div>${r.leader ? html`<b>leader</b>` : role(r)}${r.zone && html`<small>zone ${r.zone}</small>`}</div></td>
  <td data-label="Last index"><div>${r.index?.toLocaleString('en') ?? '–'}${r.behind > 0 && html`<small>${r.behind.toLocaleString('en')} behind</small>`}</div></td>
  <td data-label="Term">${r.term ?? '–'}</td>
  <td data-label="Heard leader">${r.leader ? html`<span class="muted">–</span>` : r.contact === undefined ? '–' : milliseconds(r.contact) >= 0 ? `${ms(milliseconds(r.contact) || 0.01)} ago` : 'never'}</td>
  <td data-label="Healthy for">${r.well ? seconds(r.since) : '–'}</td></tr>`

function Group({ dc, state, raft, limits }) {
  const rows = useMemo(() => join(state.data, raft.data, limits.data), [state.data, raft.data, limits.data]), failed = state.error ?? raft.error
  if (!state.data && !raft.data) return failed ? html`<${Failure} error=${failed} />` : html`<${Loading} what="the servers" />`
  const head = state.data ? headline(rows, state.data.FailureTolerance) : { state: 'unknown', text: 'How the servers are is not known' }, a = limits.data
  return html`
    ${failed && html`<${Failure} error=${failed} kept=${state.data && state.meta} />`}
    <p class=${'headline ' + head.state} role="status"><${Icon} state=${head.state} size=${20} /><b>${head.text}.</b>${state.data && rows.length > 1 && html` <span>${state.data.FailureTolerance > 0 ? `Tolerates the loss of ${plural(state.data.FailureTolerance, 'server')}.` : 'The loss of one more stops writes.'}</span>`}</p>
    <section class="panel" aria-labelledby="raft"><h2 id="raft">Raft group</h2>
      <table class="list cards"><thead><tr>${['Server', 'State', 'Role', 'Last index', 'Term', 'Heard the leader', 'Healthy for'].map(h => html`<th scope="col">${h}</th>`)}</tr></thead>
        <tbody>${rows.map(r => html`<${Server} key=${r.id} dc=${dc} r=${r} />`)}</tbody></table>
      <p class="muted hint">A write counts once most voters have it in their log. The index is the last entry there; the term goes up with each election of a leader.</p></section>
    <section class="panel" aria-labelledby="autopilot"><h2 id="autopilot">Autopilot: limits</h2>${a ? html`<${Facts} of=${[
      ['Unhealthy without the leader for', duration(a.LastContactThreshold)], ['Unhealthy when behind by more than', plural(a.MaxTrailingLogs, 'entry', 'entries')],
      ['A new server votes once healthy for', duration(a.ServerStabilizationTime)], ['Dead servers', a.CleanupDeadServers ? 'removed by autopilot' : 'removed by hand'],
      ['Never removes below this many servers', a.MinQuorum || 'no limit'], ['Zones by tag', a.RedundancyZoneTag]]} />` : html`<p class="muted">${limits.error ? limits.error.message : '…'}</p>`}</section>`
}

const Row = m => html`
  <span role="cell" class="main"><a href=${path(m.dc || settings.datacenter, 'nodes', m.node)} title=${m.title}>${m.name}</a><span class="tags">${m.tags.map(t => html`<span class="tag">${t}</span> `)}</span></span>
  <span role="cell"><${State} state=${m.state} word=${m.word} /></span>
  <span role="cell" class="mono">${m.address}</span>
  <span role="cell" class="second">${m.version}</span>
  <span role="cell" class="second">${m.trip >= 0 ? html`<span class="sr">round trip </span>≈ ${ms(m.trip || 0.01)}` : '–'}</span>`

// usePool is the members of a pool with how far they are from this agent: as measured between
// datacenters, else by network coordinates.
function usePool(wan) {
  const [list, coords, status] = useFeeds([{ path: 'agent/members', params: { wan }, blocks: false, every: 5000 },
    { path: wan ? 'coordinate/datacenters' : 'coordinate/nodes', params: wan ? {} : { cached: true }, blocks: false, every: 10_000 },
    ...(wan ? [{ path: 'federation/status', params: { local: true }, blocks: false, every: 60_000 }] : [])])
  const rows = useMemo(() => {
    const all = wan ? (coords.data ?? []).flatMap(d => d.Coordinates.map(c => ({ ...c, Node: `${c.Node}.${d.Datacenter}` }))) : coords.data ?? []
    const own = wan ? `${settings.node}.${settings.datacenter}` : settings.node, at = new Map(all.map(c => [c.Node, c.Coord]))
    const measured = new Map((status?.data?.find(v => v.Datacenter === settings.datacenter)?.Links ?? []).map(l => [l.Datacenter, l.RoundTripMS]))
    return members(list.data ?? [], m => m.Name === own ? NaN : wan && measured.get(m.Tags?.dc) || estimate(at.get(own), at.get(m.Name)))
  }, [list.data, coords.data, status?.data, wan])
  return { list, rows }
}

function Pools({ route, dc }) {
  const here = dc === settings.datacenter, wan = (route.search.get('pool') ?? (here ? 'lan' : 'wan')) === 'wan'
  const { list, rows } = usePool(wan), narrow = useNarrow(), text = (route.search.get('q') ?? '').toLowerCase(), state = route.search.get('state') ?? ''
  const alien = wan && ['invalid', 'other'].includes(list.error?.kind) // a client agent
  const found = useMemo(() => rows.filter(r => text.split(/\s+/).every(w => r.text.includes(w))), [rows, text])
  const shown = state ? found.filter(r => r.word === state) : found, stated = ['failed', 'leaving', 'left', 'alive'].map(w => [w, found.filter(r => r.word === w)])
  return html`<section class="panel pool stack" aria-labelledby="pools"><h2 id="pools">Gossip pools</h2>
    <p class="muted">By gossip agents find each other and notice who is gone.</p>
    <${Picks} label="Pools" value=${wan ? 'wan' : 'lan'} onChange=${pool => setSearch({ pool, state: '' })} of=${[['lan', here ? `Agents of ${dc} (LAN)` : `Agents of ${settings.datacenter} alone (LAN)`], ['wan', 'Servers of all datacenters (WAN)']]} />
    ${!wan && !here && html`<p class="muted">This agent hears the gossip of ${settings.datacenter} alone. What ${dc} knows of its agents: <a href=${path(dc, 'nodes')}>nodes of ${dc}</a>.</p>`}
    <${SearchField} label="Search names, addresses and states" value=${route.search.get('q') ?? ''} onChange=${q => setSearch({ q })} />
    ${alien ? html`<${Empty} title=${`${settings.node} does not hear this pool`}><p>Servers that take part in the federation do: open this page at one of them. The agent says: ${list.error.message}</p></${Empty}>`
      : list.error && html`<${Failure} error=${list.error} kept=${list.data && list.meta} />`}<${Hidden} metas=${[list.meta]} />
    ${list.data && html`<${Picks} label="States" value=${state} onChange=${s => setSearch({ state: s === state ? '' : s })} of=${[['', plural(found.length, 'member')], ...stated.filter(([w, l]) => l.length || w === state).map(([w, l]) => [w, `${l.length.toLocaleString('en')} ${w}`, l[0]?.state ?? 'unknown'])]} />
      ${shown.length ? html`<${List} items=${shown} height=${narrow ? 112 : 56} head=${['Member', 'State', 'Address', 'Version', 'Round trip']} row=${Row} label="Members" keyOf=${m => m.name} />`
        : html`<${Empty} title=${rows.length ? 'No member fits' : 'No member is shown'}><p>${rows.length ? 'Change what is searched for above.' : 'Who may read nodes sees them: the token takes node_prefix.'}</p></${Empty}>`}`}
    ${!list.data && !list.error && html`<${Loading} what="the members" />`}</section>`
}

export function ServersPage({ route }) {
  const all = useDatacenters(), dc = route.dc ?? settings.datacenter
  const [state, raft, limits] = useFeeds([{ path: 'operator/autopilot/state', params: { dc }, blocks: false }, { path: 'operator/raft/configuration', params: { dc }, blocks: false }, { path: 'operator/autopilot/configuration', params: { dc }, blocks: false, every: 15_000 }])
  return html`<div class="title"><h1>Servers</h1></div>
    <${Links} label="Datacenters" of=${all.map(d => [d, path(d, 'servers'), d === dc])} />
    <${Group} dc=${dc} state=${state} raft=${raft} limits=${limits} />
    <${Pools} route=${route} dc=${dc} />
    <${Snapshot} key=${dc} dc=${dc} />`
}

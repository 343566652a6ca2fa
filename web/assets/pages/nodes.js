// Nodes of one, several or all datacenters.
import { html, useMemo } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { path, setSearch } from '../lib/router.js'
import { plural } from '../lib/fmt.js'
import { Bar } from '../parts/state.js'
import { Failure, Empty, Loading, Hidden, Aged } from '../parts/notice.js'
import { FilterField } from '../parts/filter.js'
import { List, useNarrow } from '../parts/virtual.js'
import { Choice, chosen, useDatacenters } from '../parts/dcs.js'
import { count, stateOf } from '../parts/checks.js'
import { Statuses, SearchField } from '../parts/search.js'

const selectors = [{ name: 'Node', what: 'its name' }, { name: 'Address' }, { name: 'ID' }, { name: 'Meta', kind: 'map', what: 'Meta.name == "…"' }, { name: 'TaggedAddresses', kind: 'map' }].map(s => ({ what: '', ...s }))

const Row = n => html`
  <span role="cell" class="main"><a href=${path(n.dc, 'nodes', n.Node)} title=${n.Node}>${n.Node}</a></span>
  <span role="cell" class="places">${n.dc}</span>
  <span role="cell" class="mono">${n.Address}</span>
  <span role="cell">${plural(n.Services?.length ?? 0, 'instance')}</span>
  <span role="cell"><${Bar} of=${n.counts} /></span>`

export function NodesPage({ route }) {
  const all = useDatacenters(), picked = chosen(route, all), filter = route.search.get('filter') ?? '', text = route.search.get('q') ?? '', state = route.search.get('state') ?? ''
  const states = useFeeds(picked.map(dc => ({ path: 'internal/ui/nodes', params: { dc, cached: true, filter } })))
  const asked = picked.map((dc, i) => ({ dc, state: states[i] })), narrow = useNarrow()
  const rows = useMemo(() => {
    const order = new Intl.Collator('en', { numeric: true })
    return asked.flatMap(a => (a.state.data ?? []).map(n => ({ ...n, dc: a.dc, counts: count(n.Checks ?? []), state: stateOf(n.Checks ?? []), text: [n.Node, n.Address, ...(n.Services ?? []).map(s => s.Service)].join(' ').toLowerCase() })))
      .sort((a, b) => order.compare(a.dc, b.dc) || order.compare(a.Node, b.Node))
  }, states.map(s => s.data))
  const found = useMemo(() => rows.filter(r => text.toLowerCase().split(/\s+/).every(w => r.text.includes(w))), [rows, text])
  const shown = useMemo(() => state ? found.filter(r => r.state === state) : found, [found, state])
  const wrong = states.find(s => s.error?.kind === 'invalid')?.error
  const failed = asked.filter(a => a.state.error && a.state.error.kind !== 'invalid' && a.state.data === undefined)
  return html`
    <div class="title"><h1>Nodes</h1></div>
    <${Choice} page="nodes" route=${route} all=${all} picked=${picked} />
    <div class="tools-row"><${SearchField} label="Search names, addresses and services" value=${text} onChange=${q => setSearch({ q })} />
      <${FilterField} value=${filter} onChange=${f => setSearch({ filter: f })} selectors=${selectors} error=${wrong} /></div>
    ${failed.map(a => html`<${Failure} key=${a.dc} error=${a.state.error} />`)}
    <${Hidden} metas=${states.map(s => s.meta)} /><${Aged} of=${asked} />
    ${states.every(s => !s.data && !s.error) ? html`<${Loading} what="nodes" />` : html`
      <${Statuses} rows=${found} value=${state} onChange=${s => setSearch({ state: s })} what="node" />
      ${shown.length > 0 ? html`<section class="panel nodes"><${List} items=${shown} height=${narrow ? 124 : 48} head=${['Node', 'Datacenter', 'Address', 'Runs', 'Checks']} row=${Row} label="Nodes" keyOf=${n => n.dc + ' ' + n.Node} /></section>`
        : failed.length === asked.length ? null : html`<${Empty} title="No node fits"><p>Change what is searched for above.</p></${Empty}>`}`}`
}

// Services of one, several or all datacenters.
import { html, useMemo } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { path, setSearch } from '../lib/router.js'
import { settings } from '../lib/settings.js'
import { plural } from '../lib/fmt.js'
import { Bar } from '../parts/state.js'
import { Failure, Empty, Loading, Hidden, Aged } from '../parts/notice.js'
import { FilterField } from '../parts/filter.js'
import { List, useNarrow } from '../parts/virtual.js'
import { Choice, chosen, useDatacenters } from '../parts/dcs.js'
import { Small, Tags } from '../parts/checks.js'
import { Statuses, SearchField } from '../parts/search.js'

const selectors = [
  { name: 'Name', what: 'of the service' }, { name: 'Tags', kind: 'list', what: 'of its instances' }, { name: 'Nodes', kind: 'list', what: 'it runs on' },
  { name: 'ExternalSources', kind: 'list', what: 'who registered it' }, { name: 'Kind', what: 'of the mesh' },
  { name: 'InstanceCount', kind: 'number', what: 'in one datacenter' }, { name: 'ChecksCritical', kind: 'number', what: 'in one datacenter' }, { name: 'ChecksWarning', kind: 'number', what: 'in one datacenter' }, { name: 'ChecksPassing', kind: 'number', what: 'in one datacenter' },
]

const stateOf = s => s.ChecksCritical > 0 ? 'critical' : s.ChecksWarning > 0 ? 'warning' : 'passing'
const shownPlaces = 5

// gather makes one row of each name, over the datacenters that have it.
function gather(answers) {
  const rows = new Map()
  for (const { dc, list } of answers) {
    for (const s of list) {
      let row = rows.get(s.Name)
      if (!row) rows.set(s.Name, row = { name: s.Name, places: [], tags: new Set(), sources: new Set(), instances: 0, critical: 0, warning: 0, passing: 0 })
      row.places.push({ dc, state: stateOf(s) })
      for (const t of s.Tags ?? []) row.tags.add(t)
      for (const t of s.ExternalSources ?? []) row.sources.add(t)
      row.instances += s.InstanceCount
      row.critical += s.ChecksCritical
      row.warning += s.ChecksWarning
      row.passing += s.ChecksPassing
    }
  }
  const order = new Intl.Collator('en', { numeric: true })
  return [...rows.values()].sort((a, b) => order.compare(a.name, b.name))
    .map(r => ({ ...r, tags: [...r.tags], sources: [...r.sources], state: r.critical ? 'critical' : r.warning ? 'warning' : 'passing', text: [r.name, ...r.tags].join(' ').toLowerCase() }))
}

const home = row => (row.places.find(p => p.dc === settings.datacenter) ?? row.places[0]).dc

const Row = row => html`
  <span role="cell" class="main"><a href=${path(home(row), 'services', row.name)} title=${row.name}>${row.name}</a>${row.tags.length + row.sources.length > 0 && html`<span class="tags"><${Tags} of=${row.tags.slice(0, 6)} />${row.sources.map(s => html`<span class="tag">from ${s}</span> `)}</span>`}</span>
  <span role="cell" class="places">${row.places.slice(0, shownPlaces).map(p => html`<a class="place" href=${path(p.dc, 'services', row.name)}><${Small} state=${p.state} />${p.dc}<span class="sr"> ${p.state}</span></a>`)}${row.places.length > shownPlaces && html`<span class="muted">and ${row.places.length - shownPlaces} more</span>`}</span>
  <span role="cell">${plural(row.instances, 'instance')}</span>
  <span role="cell"><${Bar} of=${row} /></span>`

export function ServicesPage({ route }) {
  const all = useDatacenters(), picked = chosen(route, all), filter = route.search.get('filter') ?? '', text = route.search.get('q') ?? '', state = route.search.get('state') ?? ''
  const states = useFeeds(picked.map(dc => ({ path: 'internal/ui/services', params: { dc, cached: true, filter } })))
  const asked = picked.map((dc, i) => ({ dc, state: states[i] })), narrow = useNarrow()
  const rows = useMemo(() => gather(asked.filter(a => a.state.data).map(a => ({ dc: a.dc, list: a.state.data }))), states.map(s => s.data))
  const found = useMemo(() => rows.filter(r => text.toLowerCase().split(/\s+/).every(w => r.text.includes(w))), [rows, text])
  const shown = useMemo(() => state ? found.filter(r => r.state === state) : found, [found, state])
  const wrong = states.find(s => s.error?.kind === 'invalid')?.error
  const failed = asked.filter(a => a.state.error && a.state.error.kind !== 'invalid' && a.state.data === undefined)
  const waiting = states.every(s => !s.data && !s.error)
  return html`
    <div class="title"><h1>Services</h1></div>
    <${Choice} page="services" route=${route} all=${all} picked=${picked} />
    <div class="tools-row"><${SearchField} label="Search names and tags" value=${text} onChange=${q => setSearch({ q })} />
      <${FilterField} value=${filter} onChange=${f => setSearch({ filter: f })} selectors=${selectors} error=${wrong} /></div>
    ${failed.map(a => html`<${Failure} key=${a.dc} error=${a.state.error} />`)}
    <${Hidden} metas=${states.map(s => s.meta)} /><${Aged} of=${asked} />
    ${waiting ? html`<${Loading} what="services" />` : html`
      <${Statuses} rows=${found} value=${state} onChange=${s => setSearch({ state: s })} what="service" />
      ${shown.length > 0 ? html`<section class="panel"><${List} items=${shown} height=${narrow ? 112 : 56} head=${['Service', 'Datacenters', 'Instances', 'Checks']} row=${Row} label="Services" keyOf=${r => r.name} /></section>`
        : failed.length === asked.length ? null : html`<${Empty} title=${rows.length ? 'No service fits' : filter ? 'No service fits the expression' : 'There is no service yet'}>
          <p>${rows.length || filter ? 'Change what is searched for above.' : html`Register one with <code>legate services register</code>, or in a configuration file of an agent.`}</p></${Empty}>`}`}`
}

// Services of one, several or all datacenters.
import { html } from '../lib/dom.js'
import { path } from '../lib/router.js'
import { settings } from '../lib/settings.js'
import { plural } from '../lib/fmt.js'
import { Bar } from '../parts/state.js'
import { Empty } from '../parts/notice.js'
import { Small, Tags } from '../parts/checks.js'
import { Listing } from '../parts/listing.js'

const selectors = [
  { name: 'Name', what: 'of the service' }, { name: 'Tags', kind: 'list', what: 'of its instances' }, { name: 'Nodes', kind: 'list', what: 'it runs on' },
  { name: 'ExternalSources', kind: 'list', what: 'who registered it' }, { name: 'Kind', what: 'of the mesh' },
  { name: 'InstanceCount', kind: 'number', what: 'in one datacenter' }, { name: 'ChecksCritical', kind: 'number', what: 'in one datacenter' }, { name: 'ChecksWarning', kind: 'number', what: 'in one datacenter' }, { name: 'ChecksPassing', kind: 'number', what: 'in one datacenter' },
]

const stateOf = s => s.ChecksCritical > 0 ? 'critical' : s.ChecksWarning > 0 ? 'warning' : 'passing'
const rank = { critical: 0, warning: 1, passing: 2 }
const shownPlaces = 5

// gather makes one row of each name, over the datacenters that have it, those that fail first.
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
  return [...rows.values()].map(r => ({ ...r, tags: [...r.tags], sources: [...r.sources], state: r.critical ? 'critical' : r.warning ? 'warning' : 'passing', text: [r.name, ...r.tags].join(' ').toLowerCase() }))
    .sort((a, b) => rank[a.state] - rank[b.state] || order.compare(a.name, b.name))
}

const home = row => (row.places.find(p => p.dc === settings.datacenter) ?? row.places[0]).dc

const Row = row => html`
  <span role="cell" class="main"><a href=${path(home(row), 'services', row.name)} title=${row.name}>${row.name}</a>${(row.name === 'consul' || row.tags.length + row.sources.length > 0) && html`<span class="tags">${row.name === 'consul' && html`<span class="tag">the servers themselves</span> `}<${Tags} of=${row.tags.slice(0, 6)} />${row.sources.map(s => html`<span class="tag">from ${s}</span> `)}</span>`}</span>
  <span role="cell" class="places">${row.places.slice(0, shownPlaces).map(p => html`<a class="place" href=${path(p.dc, 'services', row.name)}><${Small} state=${p.state} />${p.dc}<span class="sr"> ${p.state}</span></a>`)}${row.places.length > shownPlaces && html`<span class="muted">and ${row.places.length - shownPlaces} more</span>`}</span>
  <span role="cell">${plural(row.instances, 'instance')}</span>
  <span role="cell"><span title="Checks of its instances and of the nodes they run on"><${Bar} of=${row} /></span></span>`

const of = {
  page: 'services', title: 'Services', what: 'service', ask: 'internal/ui/services', search: 'Search names and tags', selectors, gather,
  heights: [56, 120], head: ['Service', 'Datacenters', 'Instances', 'Checks'], row: Row, keyOf: r => r.name,
  none: html`<${Empty} title="There is no service yet"><p>Register one with <code>legate services register</code>, or in a configuration file of an agent.</p></${Empty}>`,
}

export const ServicesPage = ({ route }) => html`<${Listing} route=${route} of=${of} />`

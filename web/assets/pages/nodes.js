// Nodes of one, several or all datacenters.
import { html } from '../lib/dom.js'
import { path } from '../lib/router.js'
import { plural } from '../lib/fmt.js'
import { Bar } from '../parts/state.js'
import { Empty } from '../parts/notice.js'
import { count, stateOf } from '../parts/checks.js'
import { Listing } from '../parts/listing.js'

const selectors = [{ name: 'Node', what: 'its name' }, { name: 'Address' }, { name: 'ID' }, { name: 'Meta', kind: 'map', what: 'Meta.name == "…"' }, { name: 'TaggedAddresses', kind: 'map' }].map(s => ({ what: '', ...s }))

const Row = n => html`
  <span role="cell" class="main"><a href=${path(n.dc, 'nodes', n.Node)} title=${n.Node}>${n.Node}</a>${n.server && html`<span class="tags"><span class="tag">server</span></span>`}</span>
  <span role="cell" class="places">${n.dc}</span>
  <span role="cell" class="mono">${n.Address}</span>
  <span role="cell">${plural(n.Services?.length ?? 0, 'instance')}</span>
  <span role="cell"><${Bar} of=${n.counts} /></span>`

function gather(answers) {
  const order = new Intl.Collator('en', { numeric: true })
  return answers.flatMap(({ dc, list }) => list.map(n => {
    const checks = n.Checks ?? [], services = n.Services ?? []
    return { ...n, dc, counts: count(checks), state: stateOf(checks), server: services.some(s => s.Service === 'consul'), text: [n.Node, n.Address, ...services.map(s => s.Service)].join(' ').toLowerCase() }
  })).sort((a, b) => order.compare(a.dc, b.dc) || order.compare(a.Node, b.Node))
}

const of = {
  page: 'nodes', title: 'Nodes', what: 'node', ask: 'internal/ui/nodes', search: 'Search names, addresses and services', selectors, gather,
  heights: [48, 124], head: ['Node', 'Datacenter', 'Address', 'Runs', 'Checks'], row: Row, keyOf: n => n.dc + ' ' + n.Node,
  none: html`<${Empty} title="No node is shown"><p>Your token may not see any.</p></${Empty}>`,
}

export const NodesPage = ({ route }) => html`<${Listing} route=${route} of=${of} />`

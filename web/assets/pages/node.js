// One node: what runs on it, its checks and sessions, and how far the others are.
import { html, useMemo } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { path } from '../lib/router.js'
import { hostPort, ms, plural } from '../lib/fmt.js'
import { estimate } from '../lib/coords.js'
import { Failure, Empty, Loading, Aged } from '../parts/notice.js'
import { State, Bar } from '../parts/state.js'
import { Checks, Tags, Facts, Meta, count, stateOf } from '../parts/checks.js'
import { Copy } from '../parts/copy.js'

const neighbours = 12 // shown, the nearest first

function Services({ dc, node }) {
  if (!node.Services?.length) return html`<p class="muted">Nothing is registered on it.</p>`
  const sorted = [...node.Services].sort((a, b) => a.Service.localeCompare(b.Service) || a.ID.localeCompare(b.ID))
  return html`<table class="list cards"><thead><tr><th scope="col">Instance</th><th scope="col">Service</th><th scope="col">Address</th><th scope="col">Tags</th><th scope="col">Checks</th></tr></thead>
    <tbody>${sorted.map(s => html`<tr key=${s.ID}><th scope="row"><a href=${path(dc, 'services', s.Service, 'instances', node.Node, s.ID)}>${s.ID}</a></th>
      <td data-label="Service"><a href=${path(dc, 'services', s.Service)}>${s.Service}</a></td><td data-label="Address" class="mono">${hostPort(s.Address || node.Address, s.Port)}</td>
      <td data-label="Tags"><span class="tags"><${Tags} of=${s.Tags} /></span></td><td data-label="Checks"><${Bar} of=${count((node.Checks ?? []).filter(c => c.ServiceID === s.ID))} /></td></tr>`)}</tbody></table>`
}

const Sessions = ({ of }) => of.error ? html`<p class="muted">${of.error.message}</p>` : !of.data?.length ? html`<p class="muted">None.</p>` : html`
  <table class="list cards"><thead><tr><th scope="col">Session</th><th scope="col">Name</th><th scope="col">Behaviour</th><th scope="col">TTL</th></tr></thead>
  <tbody>${of.data.map(s => html`<tr key=${s.ID}><th scope="row" class="mono">${s.ID}</th><td data-label="Name">${s.Name || '–'}</td><td data-label="Behaviour">${s.Behavior}</td><td data-label="TTL">${s.TTL || 'none'}</td></tr>`)}</tbody></table>`

function Trips({ dc, name, of }) {
  const list = useMemo(() => {
    const own = of.data?.find(c => c.Node === name)?.Coord
    return own ? of.data.filter(c => c.Node !== name).map(c => ({ node: c.Node, trip: estimate(own, c.Coord) })).filter(t => t.trip >= 0).sort((a, b) => a.trip - b.trip) : []
  }, [of.data, name])
  if (list.length === 0) return html`<p class="muted">${of.error ? of.error.message : 'Not known yet: coordinates take some gossip.'}</p>`
  return html`<dl class="facts">${list.slice(0, neighbours).map(t => html`<div key=${t.node}><dt><a href=${path(dc, 'nodes', t.node)}>${t.node}</a></dt><dd>≈ ${ms(t.trip)}</dd></div>`)}</dl>
    <p class="muted hint">Estimated (≈), not measured: agents work out how far they are apart from the round trips of their gossip${list.length > neighbours ? `; the nearest of ${plural(list.length, 'node')}` : ''}.</p>`
}

const milli = seconds => `${+(seconds * 1000).toFixed(3)} ms`

const meanings = [
  ['Vec', c => c.Vec.map(v => +(v * 1000).toFixed(3)).join(', ') + ' ms',
    'Where the node is, in a space in which the distance of two nodes is the round trip of the network between them.'],
  ['Height', c => milli(c.Height), 'What its own access to the network adds to each round trip.'],
  ['Adjustment', c => milli(c.Adjustment), 'By how much its measured round trips were off of late: it corrects estimates.'],
  ['Error', c => +c.Error.toFixed(3), 'How sure the node is of its place: 0 is sure, 1.5 is where it begins.'],
]

// Coordinate has the numbers from which round trips are estimated, with what each of them means.
const Coordinate = ({ of }) => of && html`<section class="panel coordinate"><h2>Network coordinate</h2><table class="list cards">
  <thead><tr><th scope="col">Name</th><th scope="col">Value</th><th scope="col">What it means</th></tr></thead>
  <tbody>${meanings.map(([name, value, means]) => html`<tr key=${name}><th scope="row">${name}</th>
    <td data-label="Value" class="mono">${value(of)}</td><td data-label="Means" class="muted">${means}</td></tr>`)}</tbody></table></section>`

export function NodePage({ route: { dc, name } }) {
  const at = encodeURIComponent(name)
  const [state, sessions, coords] = useFeeds([
    { path: 'internal/ui/node/' + at, params: { dc, cached: true } }, { path: 'session/node/' + at, params: { dc, cached: true }, blocks: false, every: 5000 },
    { path: 'coordinate/nodes', params: { dc, cached: true }, blocks: false, every: 10_000 }])
  const node = state.data, checks = node?.Checks ?? [], own = checks.filter(c => !c.ServiceID)
  const gone = state.error?.kind === 'missing'
  return html`
    <div class="title"><p class="crumbs"><a href=${path('nodes')}>Nodes</a> / <a href=${path(dc, 'nodes')}>${dc}</a></p><h1>${name}</h1>
      ${node && html`<p class="headline"><${State} state=${stateOf(checks)} /><span>${plural(node.Services?.length ?? 0, 'instance')}, ${plural(checks.length, 'check')}</span></p>`}</div>
    ${state.error && !gone && html`<${Failure} error=${state.error} kept=${node && state.meta} />`}<${Aged} of=${[{ dc, state }]} />
    ${gone ? html`<${Empty} title=${`There is no node ${name} in ${dc}`}><p>It may have left, or your token may not see it. <a href=${path(dc, 'nodes')}>All nodes of ${dc}</a></p></${Empty}>`
      : !node ? !state.error && html`<${Loading} what="the node" />` : html`
      <section class="panel"><h2>Services</h2><${Services} dc=${dc} node=${node} /></section>
      <div class="split"><section class="panel"><h2>Checks of the node</h2><${Checks} of=${own} /></section>
        <section class="panel"><h2>Round trips</h2><${Trips} dc=${dc} name=${name} of=${coords} /></section></div>
      <section class="panel"><h2>Node</h2><${Facts} of=${[['Address', html`<${Copy} text=${node.Address} />`], ['ID', node.ID], ...Object.entries(node.TaggedAddresses ?? {}).map(([k, v]) => [`Address ${k}`, v])]} /></section>
      <${Coordinate} of=${coords.data?.find(c => c.Node === name)?.Coord} />
      <section class="panel"><h2>Sessions</h2><${Sessions} of=${sessions} /></section>
      <${Meta} of=${node.Meta} />`}`
}

// The first page: how the datacenters are, and how they reach each other.
import { html, useEffect, useMemo, useState } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { settings } from '../lib/settings.js'
import { path } from '../lib/router.js'
import { join, guess, headline, healths } from '../lib/federation.js'
import { ms, percent, plural, since, clock } from '../lib/fmt.js'
import { State, Icon, kindOf } from '../parts/state.js'
import { Failure, Loading } from '../parts/notice.js'
import { Map2D } from '../parts/map.js'
import { Matrix } from '../parts/matrix.js'

const worthShowing = 40 // links in the table; those in trouble come first

// useFederation is what may be seen of the federation, from measurements or, without that
// right, from network coordinates. Each datacenter is asked for its view, which takes as long as
// the farthest is away; until then there is what this one knows.
function useFederation() {
  const [status, own] = useFeeds([{ path: 'federation/status', blocks: false }, { path: 'federation/status', params: { local: true }, blocks: false, every: 60_000 }])
  const denied = status.error?.kind === 'denied'
  const [coords] = useFeeds(denied ? [{ path: 'coordinate/datacenters', blocks: false }] : [])
  const known = status.data ?? own.data
  const fed = useMemo(() => known ? join(known) : coords?.data ? guess(coords.data) : undefined, [known, coords?.data])
  return { fed, status, denied, whole: !!(status.data ?? coords?.data), meta: status.meta ?? coords?.meta }
}

// useOverviews counts what each datacenter has, of what the token may see.
export function useOverviews(dcs) {
  const states = useFeeds(dcs.map(dc => ({ path: 'internal/ui/catalog-overview', params: { dc, cached: true } })))
  return new Map(dcs.map((dc, i) => [dc, states[i]]))
}

const words = { critical: 'failing', warning: 'with warnings', passing: 'passing' }
const atState = (state, ...parts) => `${path(...parts)}?state=${state}`

// Health says how many services are how. What is only remembered is grey, and says how old it is.
function Health({ dc, services, old }) {
  const counts = {
    critical: services.filter(s => s.Critical > 0).length,
    warning: services.filter(s => s.Critical === 0 && s.Warning > 0).length,
    passing: services.filter(s => s.Critical === 0 && s.Warning === 0).length,
  }
  const all = services.length, there = Object.keys(counts).filter(k => counts[k] > 0)
  if (all === 0) return html`<span class="muted">none</span>`
  if (old) return html`<span class="bar stale"><span class="strip" aria-hidden="true"><i /></span>
    <span>${there.map(k => `${counts[k].toLocaleString('en')} ${words[k]}`).join(', ')}, as last heard ${old}</span></span>`
  const text = k => k === 'passing' ? `all ${all.toLocaleString('en')} passing` : `${counts[k].toLocaleString('en')} of ${all.toLocaleString('en')} ${words[k]}`
  return html`<span class="bar"><span class="strip" aria-hidden="true">${there.map(k => html`<i class=${kindOf(k)} style=${{ flexGrow: counts[k] }} />`)}</span>
    <span class="said">${there.filter(k => k !== 'passing' || there.length === 1).map(k => html`
      <a class=${'count ' + kindOf(k)} href=${atState(k, dc, 'services')}><${Icon} state=${k} size=${12} />${text(k)}</a>`)}</span></span>`
}

// oldOf is how old what is known of a datacenter is, in words; '' while it is fresh.
function oldOf(site, meta) {
  if (!meta || (!site.cut && !(meta.age > 3))) return ''
  return since(new Date(meta.at - meta.age * 1000).toISOString())
}

// Nodes says how many of them there are, and how many are servers of Legate.
function Nodes({ dc, count, servers, old }) {
  if (old) return html`<span class="muted">${count.toLocaleString('en')} ${count === 1 ? 'was' : 'were'} known</span>`
  const others = count - servers
  const kinds = servers > 0 && others >= 0 && (others ? `${plural(servers, 'server')} + ${plural(others, 'other')}` : 'all servers')
  return html`<span><a href=${path(dc, 'nodes')}>${count.toLocaleString('en')}</a>${kinds && html` <span class="muted">(${kinds})</span>`}</span>`
}

function Trip({ site, link }) {
  const own = link && (link.a === site.dc ? link.ba : link.ab), trip = own?.RoundTripMS > 0 ? own.RoundTripMS : link?.trip
  if (link?.state === 'unreachable') return html`<span class="muted">${trip > 0 ? `was ${ms(trip)}` : '–'}</span>`
  return `${link?.guessed ? '≈ ' : ''}${ms(trip)}`
}

function Datacenter({ site, overview, link }) {
  const data = overview?.data, here = site.dc === settings.datacenter, old = oldOf(site, overview?.meta)
  const nodes = data ? data.Nodes.reduce((sum, n) => sum + n.Total, 0) : 0
  return html`<tr>
    <th scope="row"><a href=${path(site.dc, 'services')}>${site.dc}</a>${here && html` <span class="tag">here</span>`}</th>
    <td data-label="Servers’ state"><${State} state=${site.state} word=${site.word} /></td>
    <td data-label="Leader">${site.leader || html`<span class="muted">${site.told ? 'none' : 'not known'}</span>`}</td>
    <td data-label="Servers">${site.servers > 0 ? `${site.answering} of ${site.servers} answer` : '–'}</td>
    <td data-label="Nodes">${data ? html`<${Nodes} dc=${site.dc} count=${nodes} servers=${site.servers} old=${old} />` : '–'}</td>
    <td data-label="Services">${data ? html`<${Health} dc=${site.dc} services=${data.Services} old=${old} />` : html`<span class="muted">${overview?.error ? overview.error.message : '…'}</span>`}</td>
    <td data-label="From here">${here ? html`<span class="muted">–</span>` : html`<${Trip} site=${site} link=${link} />`}</td>
  </tr>`
}

function Datacenters({ fed, overviews }) {
  const here = settings.datacenter
  const link = dc => fed.links.find(l => (l.a === here && l.b === dc) || (l.b === here && l.a === dc))
  return html`<section class="panel" aria-labelledby="dcs"><h2 id="dcs">Datacenters</h2>
    <table class="list cards"><thead><tr><th scope="col">Datacenter</th><th scope="col">Servers’ state</th><th scope="col">Leader</th><th scope="col">Servers</th><th scope="col">Nodes</th><th scope="col">Services</th><th scope="col">Round trip from here</th></tr></thead>
      <tbody>${fed.sites.map(s => html`<${Datacenter} key=${s.dc} site=${s} overview=${overviews.get(s.dc)} link=${link(s.dc)} />`)}</tbody></table>
    ${fed.down.length > 0 && html`<p class="muted">No part of the federation any more: ${fed.down.map(s => `${s.dc} (${s.word})`).join(', ')}.</p>`}
  </section>`
}

// howIs is the state and the word of a link: one that loses packets is not well.
const howIs = l => l.state === 'unreachable' ? ['bad', 'cut'] : l.state === 'up' && l.loss >= 0.01 ? ['warn', 'lossy'] : [l.state, l.state]
const rank = l => ['bad', 'warn', 'unknown', 'good'].indexOf(kindOf(howIs(l)[0]))

function Links({ links }) {
  const sorted = [...links].sort((p, q) => rank(p) - rank(q))
  return html`<section class="panel" aria-labelledby="links"><h2 id="links">Links</h2>
    <table class="list cards"><thead><tr><th scope="col">Between</th><th scope="col">State</th><th scope="col">Path</th><th scope="col">Round trip, mean of both directions</th><th scope="col">Loss</th><th scope="col">Last answer</th></tr></thead>
    <tbody>${sorted.slice(0, worthShowing).map(l => html`<tr key=${l.a + ' ' + l.b}>
      <th scope="row">${l.a} – ${l.b}</th>
      <td data-label="State"><${State} state=${howIs(l)[0]} word=${howIs(l)[1]} />${l.reason && html`<small>${l.reason}</small>`}</td>
      <td data-label="Path">${l.path || '–'}</td>
      <td data-label="Round trip">${l.state === 'unreachable' ? html`<span class="muted">${l.trip > 0 ? `was ${ms(l.trip)}` : '–'}</span>` : `${l.guessed ? '≈ ' : ''}${ms(l.trip)}`}</td>
      <td data-label="Loss">${l.guessed || l.state === 'unreachable' ? '–' : percent(l.loss)}</td>
      <td data-label="Last answer">${l.heard ? since(new Date(l.heard).toISOString()) : '–'}</td></tr>`)}</tbody></table>
    ${links.length > worthShowing && html`<p class="muted">${worthShowing} of ${links.length} links; those in trouble come first.</p>`}
  </section>`
}

const told = 3 // notices of datacenters that are cut off

// CutOff says since when nobody has reached a datacenter, what that means and what to look at first.
function CutOff({ site }) {
  const when = site.heard ? html` since <b>${clock(site.heard)}</b> (${since(new Date(site.heard).toISOString())})` : html``
  return html`<section class="notice" aria-label=${site.dc + ' is cut off'}><${Icon} state="bad" size=${20} /><div>
    <p class="what">Nobody has reached ${site.dc}${when}.</p>
    <p>Its services may still run there; other datacenters cannot use them. ${site.dc} may be down, or only its network.</p>
    <p class="muted">First see whether its servers run. If they do, <code>legate doctor</code> on one of them says what does not get through.</p></div></section>`
}

const late = 12 // seconds without an answer: the page asks every three, and each datacenter has two to answer

// Fresh says how old the newest answer is, each second.
function Fresh({ meta }) {
  const [, tick] = useState(0)
  useEffect(() => { const timer = setInterval(() => tick(n => n + 1), 1000); return () => clearInterval(timer) }, [])
  const age = Math.max(0, (Date.now() - meta.at) / 1000)
  const text = age < late ? `Live: measured ${Math.floor(age)} s ago.` : `Not live: the last answer came ${since(new Date(meta.at).toISOString())}.`
  return html`<p class="muted fresh">${text}</p>`
}

// Services is the sentence on services below the headline: a link to those that are in trouble. What is known of
// a datacenter that is cut off is old and says nothing of now.
function Services({ sites, overviews }) {
  const fresh = sites.filter(s => !s.cut && overviews.get(s.dc)?.data)
  if (fresh.length === 0) return null
  const of = healths(fresh.map(s => [s.dc, overviews.get(s.dc).data.Services])), missing = sites.length - fresh.length
  return html`<p class=${'headline ' + kindOf(of.state)} id="health" role="status"><${Icon} state=${of.state} size=${20} />
    ${of.state === 'passing' ? html`<b>${of.text}.</b>` : html`<b><a href=${atState(of.state, ...[of.dc, 'services'].filter(Boolean))}>${of.text}</a>.</b>`}
    ${missing > 0 && html` <span>${plural(missing, 'datacenter')} not counted.</span>`}</p>`
}

export function FederationPage() {
  const { fed, status, denied, whole, meta } = useFederation()
  const overviews = useOverviews(fed ? fed.sites.map(s => s.dc) : [])
  if (!fed) return html`<h1>Federation</h1>${status.error ? html`<${Failure} error=${status.error} />` : html`<${Loading} what="the federation" />`}`
  const head = whole ? headline(fed) : { state: 'unknown', text: 'Asking each datacenter' }, servers = fed.sites.reduce((sum, s) => sum + s.servers, 0)
  const cut = fed.sites.filter(s => s.cut)
  return html`
    <div class="title"><h1>Federation</h1>
      <p class=${'headline ' + kindOf(head.state)} role="status"><${Icon} state=${head.state} size=${20} /><b>${head.text}.</b> <span>${[plural(fed.sites.length, 'datacenter'), servers > 0 && plural(servers, 'server')].filter(Boolean).join(', ')}.</span></p>
      <${Services} sites=${fed.sites} overviews=${overviews} />
      ${whole && meta && html`<${Fresh} meta=${meta} />`}</div>
    ${cut.slice(0, told).map(s => html`<${CutOff} key=${s.dc} site=${s} />`)}
    ${status.error && html`<${Failure} error=${status.error} kept=${!denied && status.meta} />`}
    <div class="split">
      <section class="panel" aria-labelledby="map"><h2 id="map">Map</h2>${whole ? html`<${Map2D} sites=${fed.sites} links=${fed.links} here=${settings.datacenter} />` : html`<${Loading} what="each datacenter's view" />`}</section>
      ${fed.sites.length > 1 && html`<section class="panel" aria-labelledby="trips"><h2 id="trips">Round trips</h2>${whole && html`<${Matrix} sites=${fed.sites} links=${fed.links} />`}</section>`}
    </div>
    <${Datacenters} fed=${fed} overviews=${overviews} />
    ${whole && fed.links.length > 0 && html`<${Links} links=${fed.links} />`}`
}

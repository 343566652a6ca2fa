// What all views of a federation say together: how each datacenter is, and each link.
import { medianBetween } from './coords.js'
import { plural } from './fmt.js'

const worse = ['up', 'degraded', 'unreachable', 'left', 'removed']
const worst = list => list.reduce((a, b) => worse.indexOf(b) > worse.indexOf(a) ? b : a, 'up')
const gone = state => state === 'left' || state === 'removed'

// pathOf says how one datacenter reaches another, in words; '' if it does not.
function pathOf(link, behind) {
  if (link.Through?.length) return 'via ' + link.Through.join(', ')
  if (link.State === 'unreachable') return ''
  return behind || link.Gateways?.length ? 'by gateways' : 'direct'
}

// linkOf joins what both ends say of a link.
function linkOf(a, b, ab, ba, views) {
  const ends = [ab, ba].filter(Boolean)
  const behind = [a, b].some(dc => views.get(dc)?.Gateways?.length)
  const trips = ends.map(l => l.RoundTripMS).filter(v => v > 0)
  const heard = ends.map(l => Date.parse(l.LastContact ?? '')).filter(t => t > 0)
  const state = ends.length ? worst(ends.map(l => l.State)) : 'unknown'
  return {
    a, b, ab, ba, state,
    trip: trips.length ? trips.reduce((s, v) => s + v, 0) / trips.length : NaN,
    loss: Math.max(0, ...ends.map(l => l.Loss)),
    path: state === 'unreachable' ? '' : ends.map(l => pathOf(l, behind)).find(p => p && p !== 'direct') ?? (ends.length ? 'direct' : ''),
    via: state === 'unreachable' ? [] : ab?.Through?.length ? ab.Through : [...ba?.Through ?? []].reverse(), // from a to b
    heard: heard.length ? Math.max(...heard) : 0,
    reason: ends.map(l => l.Reason).find(Boolean) ?? '',
    error: ends.map(l => l.LastError).find(Boolean) ?? '',
  }
}

// siteOf is how a datacenter is: what others say of it, and what it says itself.
function siteOf(dc, view, seen) {
  const states = seen.map(l => l.State)
  const cut = states.filter(s => s === 'unreachable').length
  const site = {
    dc, servers: Math.max(0, ...seen.map(l => l.Servers)), answering: Math.max(0, ...seen.map(l => l.Answering)),
    leader: view?.Leader || seen.map(l => l.Leader).find(Boolean) || '', told: !!view && !view.Error,
    reason: seen.map(l => l.Reason).find(Boolean) ?? '', state: 'up', word: 'healthy', cut: false, heard: 0,
  }
  const put = (state, word) => Object.assign(site, { state, word })
  if (states.length && states.every(gone)) return put(states[0], states[0] === 'removed' ? 'removed' : 'left the federation')
  if (states.length && cut === states.length) {
    site.cut = true
    site.heard = Math.max(0, ...seen.map(l => Date.parse(l.LastContact ?? '') || 0))
    return put('bad', 'cut off')
  }
  if (cut > 0) return put('warn', `not reached by ${cut} of ${states.length}`)
  if (site.told && !site.leader) return put('bad', 'no leader')
  if (states.includes('degraded')) return put('warn', 'degraded')
  return site
}

// join makes { sites, links, down } of the views that /v1/federation/status returns: sites
// that are part of the federation by name, links of each pair of them, and those that are not
// part of it any more.
export function join(list) {
  const views = new Map(list.map(v => [v.Datacenter, v]))
  const names = new Set(views.keys())
  for (const v of list) for (const l of v.Links ?? []) names.add(l.Datacenter)
  const said = (from, to) => views.get(from)?.Links?.find(l => l.Datacenter === to)
  const all = [...names].sort((p, q) => p.localeCompare(q, 'en', { numeric: true }))
    .map(dc => siteOf(dc, views.get(dc), list.filter(v => v.Datacenter !== dc).map(v => said(v.Datacenter, dc)).filter(Boolean)))
  const sites = all.filter(s => !gone(s.state))
  const links = []
  sites.forEach((p, i) => sites.slice(0, i).forEach(q => {
    links.push(linkOf(q.dc, p.dc, said(q.dc, p.dc), said(p.dc, q.dc), views))
  }))
  return { sites, links, down: all.filter(s => gone(s.state)) }
}

// guess makes the same of network coordinates alone, for who may not see the rest.
export function guess(maps) {
  const sites = maps.map(m => ({ dc: m.Datacenter, servers: m.Coordinates.length, answering: m.Coordinates.length, leader: '', told: false, reason: '', state: 'unknown', word: 'state not shown' }))
  const links = []
  maps.forEach((m, i) => maps.slice(0, i).forEach(o => {
    links.push({ a: o.Datacenter, b: m.Datacenter, state: 'unknown', trip: medianBetween(o.Coordinates, m.Coordinates), loss: 0, path: '', via: [], heard: 0, reason: '', error: '', guessed: true })
  }))
  return { sites, links, down: [] }
}

// byWayOf says which have no link of their own: nobody knows here whether somebody wants that.
const byWayOf = links => links.length === 1 ? `, ${links[0].a} and ${links[0].b} through ${links[0].via.join(', ')}`
  : links.length ? `, ${links.length} pairs through others` : ''

// headline sums a federation up in one sentence, with its state.
export function headline({ sites, links }) {
  const cut = sites.filter(s => s.cut).map(s => s.dc)
  const leaderless = sites.filter(s => s.word === 'no leader').map(s => s.dc)
  const broken = links.filter(l => l.state === 'unreachable' && !cut.includes(l.a) && !cut.includes(l.b))
  const lossy = links.filter(l => l.state !== 'unreachable' && l.loss >= 0.01)
  const is = list => list.length > 3 ? `${list.length} datacenters are` : `${list.join(', ')} ${list.length > 1 ? 'are' : 'is'}`
  if (sites.some(s => s.state === 'unknown')) return { state: 'unknown', text: 'How the datacenters are is not shown to this token' }
  if (cut.length) return { state: 'bad', text: `${is(cut)} cut off` }
  if (leaderless.length) return { state: 'bad', text: `${is(leaderless)} without a leader` }
  if (broken.length) return { state: 'warn', text: `${broken.length === 1 ? `${broken[0].a} and ${broken[0].b} do` : `${broken.length} pairs of datacenters do`} not reach each other` }
  const hurt = sites.filter(s => s.state === 'warn')
  if (hurt.length) return { state: 'warn', text: `${is(hurt.map(s => s.dc))} degraded${hurt.length === 1 && hurt[0].reason ? `: ${hurt[0].reason}` : ''}` }
  if (lossy.length) return { state: 'warn', text: `${lossy.length === 1 ? `The link ${lossy[0].a} – ${lossy[0].b} loses` : `${lossy.length} links lose`} packets` }
  return { state: 'up', text: sites.length === 1 ? 'One datacenter, healthy' : `All datacenters reach each other${byWayOf(links.filter(l => l.via.length))}` }
}

const some = 3 // names in a sentence; beyond, their number

const inWords = list => list.length < 2 ? list.join() : `${list.slice(0, -1).join(', ')} and ${list.at(-1)}`

// healths says how the services of datacenters are, of a list of [datacenter, services as its overview
// counts them]: what a sentence says, and the one datacenter, if it is one, in which something is wrong.
export function healths(overviews) {
  const wrong = (test, verb) => {
    const places = new Map()
    for (const [dc, services] of overviews) for (const s of services.filter(test)) places.set(s.Name, [...places.get(s.Name) ?? [], dc])
    const dcs = [...new Set([...places.values()].flat())], n = places.size
    const named = n <= some && [...places].map(([name, list]) => `${name} in ${list.length > some ? `${list.length} datacenters` : inWords(list)}`)
    const where = named ? named.join('; ') : `in ${dcs.length > some ? `${dcs.length} datacenters` : inWords(dcs)}`
    return n && { text: `${plural(n, 'service')} ${verb[n === 1 ? 0 : 1]}${named ? ': ' : ' '}${where}`, dc: dcs.length === 1 ? dcs[0] : '' }
  }
  const failing = wrong(s => s.Critical > 0, ['is failing', 'are failing'])
  if (failing) return { state: 'critical', ...failing }
  const warned = wrong(s => s.Warning > 0, ['has warnings', 'have warnings'])
  return warned ? { state: 'warning', ...warned } : { state: 'passing', text: 'No service is failing', dc: '' }
}

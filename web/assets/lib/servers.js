// What is said of the servers of a datacenter, joined: who votes, who lags, who is ill and why.
import { byName } from './fmt.js'

const units = { h: 3.6e6, m: 6e4, s: 1e3, ms: 1, 'µs': 1e-3, us: 1e-3, ns: 1e-6 }

// milliseconds reads a duration as Go writes it: 1m0.5s, 12µs; NaN for what is none, such as never.
export function milliseconds(text) {
  const found = [...(text ?? '').matchAll(/([\d.]+)(h|ms|µs|us|ns|m|s)/g)]
  return found.length ? found.reduce((sum, [, n, u]) => sum + n * units[u], 0) : NaN
}

// duration writes one as Go does, with room before each unit.
export const duration = text => text.replace(/([\d.]+)([a-zµ]+)/g, '$1 $2 ').trim()

// why says what is wrong with a server, by the thresholds of autopilot, of which none is known
// to who may not see them.
function why(s, leader, limits) {
  const reasons = []
  if (s.NodeStatus !== 'alive') reasons.push(`gossip says that it is ${s.NodeStatus || 'not known'}`)
  if (s.Healthy || !limits || s.ID === leader?.ID) return reasons
  const silent = milliseconds(s.LastContact), longest = milliseconds(limits.LastContactThreshold), behind = (leader?.LastIndex ?? 0) - s.LastIndex
  if (!(silent <= longest)) reasons.push(`heard the leader ${Number.isNaN(silent) ? 'never' : `${duration(s.LastContact)} ago`}, ${duration(limits.LastContactThreshold)} is allowed`)
  if (leader && s.LastTerm !== leader.LastTerm) reasons.push(`is in term ${s.LastTerm}, the leader in ${leader.LastTerm}`)
  if (behind > limits.MaxTrailingLogs) reasons.push(`lacks ${behind.toLocaleString('en')} entries, ${limits.MaxTrailingLogs.toLocaleString('en')} are allowed`)
  return reasons
}

// join makes one row of each server that autopilot or Raft knows, the ill ones first.
export function join(state, raft, limits) {
  const told = state?.Servers ?? {}, peers = new Map((raft?.Servers ?? []).map(p => [p.ID, p]))
  const leader = Object.values(told).find(s => s.Status === 'leader')
  const rows = [...new Set([...Object.keys(told), ...peers.keys()])].map(id => {
    const s = told[id], p = peers.get(id)
    const reasons = s ? why(s, leader, limits) : state ? ['is a peer, but no member of the gossip pool has this ID'] : []
    if (raft && !p) reasons.push('is no peer of the Raft group')
    const well = s ? s.Healthy && reasons.length === 0 : !state
    if (!well && reasons.length === 0) reasons.push('autopilot says so; its thresholds are not known here')
    return {
      id, name: s?.Name || p?.Node || id, address: s?.Address || p?.Address, well, reasons,
      told: !!s, leader: p?.Leader || s?.Status === 'leader', voter: p?.Voter ?? s?.Status === 'voter', replica: s?.ReadReplica, zone: s?.RedundancyZone,
      index: s?.LastIndex ?? p?.LastIndex, term: s?.LastTerm, behind: s && leader && leader.ID !== id ? Math.max(0, leader.LastIndex - s.LastIndex) : 0, contact: s?.LastContact, since: s?.StableSince,
    }
  })
  return rows.sort((a, b) => a.well - b.well || b.leader - a.leader || byName.compare(a.name, b.name))
}

// headline sums up how the servers are, with what may fail.
export function headline(rows, tolerance) {
  const ill = rows.filter(r => !r.well)
  if (ill.length) return { state: 'bad', text: ill.length === 1 ? `${ill[0].name} is ill: ${ill[0].reasons[0]}` : `${ill.length} of ${rows.length} servers are ill` }
  if (rows.length === 1) return { state: 'good', text: 'One server, healthy' }
  if (tolerance === 0) return { state: 'warn', text: 'All servers are healthy, but none may fail' }
  return { state: 'good', text: `All ${rows.length} servers are healthy` }
}

const words = ['none', 'alive', 'leaving', 'left', 'failed']
const kinds = ['unknown', 'good', 'warn', 'unknown', 'bad']
const order = ['bad', 'warn', 'unknown', 'good']

// members makes rows of a gossip pool, those in trouble first. trip tells how far a member is.
export const members = (list, trip) => list.map(m => {
  const t = m.Tags ?? {}, server = t.role === 'consul', word = words[m.Status] ?? `state ${m.Status}`
  return {
    name: m.Name, dc: t.dc ?? '', node: t.dc && m.Name.endsWith('.' + t.dc) ? m.Name.slice(0, -t.dc.length - 1) : m.Name, word, state: kinds[m.Status] ?? 'unknown', version: t.legate || t.build || '', trip: trip(m),
    address: m.Addr.includes(':') ? `[${m.Addr}]:${m.Port}` : `${m.Addr}:${m.Port}`,
    tags: [server ? 'server' : 'client', t.read_replica === '1' && 'read replica', t.segment && `segment ${t.segment}`].filter(Boolean),
    title: Object.entries(t).map(([k, v]) => `${k}=${v}`).join('\n'), text: [m.Name, m.Addr, server ? 'server' : 'client', word, t.dc].join(' ').toLowerCase(),
  }
}).sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || byName.compare(a.dc, b.dc) || byName.compare(a.name, b.name))

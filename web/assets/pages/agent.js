// The agent that answers this page: what it is, and what it does, as charts.
import { html, useEffect, useState } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { onToken } from '../lib/api.js'
import { load } from '../lib/measure.js'
import { point } from '../lib/metrics.js'
import { settings } from '../lib/settings.js'
import { path } from '../lib/router.js'
import { span } from '../lib/fmt.js'
import { Chart } from '../parts/chart.js'
import { Facts } from '../parts/checks.js'
import { Failure, Loading } from '../parts/notice.js'
import { Snapshot } from '../parts/snapshot.js'

const every = 3000     // milliseconds between readings
const kept = 200       // of them: ten minutes
const shown = 60       // seconds that a chart shows at least

const number = v => v >= 100 ? Math.round(v).toLocaleString('en') : String(+v.toFixed(v < 1 ? 2 : 1))
const charts = [
  ['http', 'HTTP requests', 'a second, those that wait for a change left out', number],
  ['slow', 'Slow HTTP requests', 'one of a hundred takes longer', v => `${number(v)} ms`],
  ['dns', 'DNS answers', 'a second', number],
  ['rpc', 'Calls between agents', 'a second, answered by this server', number],
  ['commits', 'Raft commits', 'entries of the log a second', number],
  ['gossip', 'Gossip messages', 'about members, a second', number],
  ['memory', 'Memory', 'of the process', v => `${number(v)} MB`],
  ['goroutines', 'Goroutines', 'at work or waiting', number],
]

// usePoints reads what the agent counts again and again, while the tab is looked at.
function usePoints() {
  const [state, set] = useState({ points: [] })
  useEffect(() => {
    let before, timer, end = new AbortController()
    const look = async () => {
      if (document.visibilityState === 'visible') {
        try {
          const now = await load(end.signal), last = before
          before = now
          set(was => ({ started: now.started, points: last ? [...was.points, point(last, now)].slice(-kept) : was.points }))
        } catch (error) {
          if (!end.signal.aborted) set(was => ({ ...was, error }))
        }
      }
      if (!end.signal.aborted) timer = setTimeout(look, every)
    }
    const again = () => { end.abort(); clearTimeout(timer); end = new AbortController(); before = undefined; set({ points: [] }); look() }
    const forget = onToken(again)
    look()
    return () => { forget(); end.abort(); clearTimeout(timer) }
  }, [])
  return state
}

const addresses = list => (list ?? []).map(a => a.replace(/^\w+:\/\//, '')).filter((a, i, all) => all.indexOf(a) === i).join(', ')

function About({ self, started }) {
  if (!self.data) return self.error ? html`<${Failure} error=${self.error} />` : html`<${Loading} what="the agent" />`
  const { Config: c, DebugConfig: d = {}, Member: m, Stats: s } = self.data
  const role = !c.Server ? 'client agent' : s?.consul?.leader === 'true' ? 'server, leads its datacenter' : 'server'
  return html`<section class="panel" aria-labelledby="about"><h2 id="about">Agent</h2><${Facts} of=${[
    ['Version', m?.Tags?.legate || settings.version], ['Role', role], ['Datacenter', c.Datacenter],
    ['Runs for', started && span(Math.max(0, Date.now() / 1000 - started))],
    ['Node', html`<a href=${path(c.Datacenter, 'nodes', c.NodeName)}>${c.NodeName}</a>`], ['Node ID', c.NodeID], ['Advertises', d.AdvertiseAddrLAN],
    ['HTTP', addresses(d.HTTPAddrs)], ['HTTPS', addresses(d.HTTPSAddrs)], ['DNS', addresses(d.DNSAddrs)]]} /></section>`
}

function Charts({ points }) {
  const times = points.map(p => p.at), known = charts.filter(([name]) => points.some(p => p[name] !== undefined))
  return html`<section aria-labelledby="does"><h2 id="does">What it does</h2>
    <div class="charts">${known.map(([name, title, hint, format]) => html`<${Chart} key=${name} title=${title} hint=${hint} times=${times}
      values=${points.map(p => p[name] ?? null)} format=${format} seconds=${shown} />`)}</div>
    <p class="muted hint">Since this page was opened, ten minutes at most. For longer: <code>/metrics</code> and Prometheus.</p></section>`
}

export function AgentPage() {
  const self = useFeed('agent/self', {}, { blocks: false, every: 10_000 }), { points, started, error } = usePoints()
  return html`<div class="title"><h1>${settings.node}</h1><p class="muted">The agent that answers this page.</p></div>
    <${About} self=${self} started=${started} />${error && error.kind !== self.error?.kind && html`<${Failure} error=${error} />`}
    ${points.length > 0 ? html`<${Charts} points=${points} />` : !error && html`<${Loading} what="what it does" />`}
    <${Snapshot} dc=${settings.datacenter} />`
}

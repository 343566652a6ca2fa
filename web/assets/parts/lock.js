// Who holds the lock of a key, and what would end that.
import { html } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { path } from '../lib/router.js'
import { plural } from '../lib/fmt.js'
import { Facts } from './checks.js'
import { State } from './state.js'

const sessionsOf = (dc, id) => path(dc, 'sessions') + '?q=' + encodeURIComponent(id)

// dependsOn lists the checks that end a session when one is critical, with the service of each.
function dependsOn(dc, session, checks) {
  const ids = [...new Set([...session.NodeChecks ?? [], ...(session.ServiceChecks ?? []).map(c => c.ID)])]
  if (ids.length === 0) return 'no check: only its TTL or somebody ends it'
  const known = new Map((checks ?? []).map(c => [c.CheckID, c]))
  return html`<ul class="plain">${ids.map(id => {
    const c = known.get(id)
    const of = c?.ServiceName ? html` of the service <a href=${path(dc, 'services', c.ServiceName)}>${c.ServiceName}</a>` : ' of the node'
    return html`<li key=${id}>${c && html`<${State} state=${c.Status} /> `}<code>${id}</code>${c && of}</li>`
  })}</ul>`
}

const locked = entry => `${plural(entry.LockIndex, 'time')} so far`

function Holder({ dc, entry }) {
  const [state] = useFeeds([{ path: 'session/info/' + entry.Session, params: { dc } }])
  const session = state.data?.[0]
  const to = sessionsOf(dc, entry.Session), there = session?.NodeDatacenter || dc
  const [checks] = useFeeds(session ? [{ path: 'health/node/' + encodeURIComponent(session.Node), params: { dc: there } }] : [])
  const unseen = state.data || state.error ? 'a session that your token may not see' : '…'
  const name = session ? session.Name || 'a session without a name' : unseen
  return html`<${Facts} of=${[
    ['Held by', html`<a href=${to}>${name}</a>`],
    ['Session', html`<a href=${to}><code>${entry.Session}</code></a>`],
    ['Node', session && html`<a href=${path(there, 'nodes', session.Node)}>${session.Node}</a>${there !== dc && ` in ${there}`}`],
    ['Ends with', session && dependsOn(there, session, checks?.data)],
    ['TTL', session && (session.TTL || 'none')],
    ['Then the key is', session && (session.Behavior === 'delete' ? 'deleted' : 'released')],
    ['Held since', `lock index ${entry.LockIndex.toLocaleString('en')}: it was locked ${locked(entry)}`]]} />`
}

export const Lock = ({ dc, entry }) => html`<section class="panel" aria-labelledby="lock"><h2 id="lock">Lock</h2>
  ${entry.Session ? html`<${Holder} key=${entry.Session} dc=${dc} entry=${entry} />`
    : html`<p class="muted">Nobody holds it.${entry.LockIndex > 0 ? ` It was locked ${locked(entry)}.` : ''}</p>`}</section>`

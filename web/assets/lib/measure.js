// Asks the agent for what it counts.
import { settings } from './settings.js'
import { Fault, token } from './api.js'
import { read } from './metrics.js'

const most = 16 << 20   // bytes of an answer
const patience = 20_000 // milliseconds

// load asks the agent for a reading.
export async function load(signal) {
  let res
  try {
    const headers = token() ? { 'X-Consul-Token': token() } : {}
    res = await fetch('/metrics', { headers, cache: 'no-store', signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]) })
  } catch (e) {
    if (signal.aborted) throw e
    throw new Fault('lost', `The agent ${settings.node} does not answer`, 'It may be stopped, or the way there cut. This page asks again by itself.')
  }
  const text = await res.text()
  if (res.status === 403) {
    throw new Fault('denied', 'What the agent counts is not shown to this token', `It takes agent "${settings.node}" { policy = "read" }.`, 403)
  }
  if (!res.ok) throw new Fault('other', `The agent answered ${res.status}`, 'Its log may say more (legate monitor).', res.status)
  if (text.length > most) throw new Fault('other', 'The agent counts more than this page can draw', 'Prometheus can: let it read /metrics.')
  return read(text)
}

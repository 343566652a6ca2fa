// A snapshot of a datacenter, taken into the browser: as large as fits there.
import { Fault, query, token } from './api.js'

const most = 256 * 2 ** 20 // bytes

const two = n => String(n).padStart(2, '0')

// nameOf is the file's: datacenter, index and time, of letters that every disk takes.
const nameOf = (dc, index, at = new Date()) => {
  const day = [at.getUTCFullYear(), at.getUTCMonth() + 1, at.getUTCDate()], time = [at.getUTCHours(), at.getUTCMinutes()]
  return `${dc.replace(/[^\w.-]/g, '_')}-${index || 'unknown'}-${day.map(two).join('')}T${time.map(two).join('')}Z.snap`
}

// take returns { pieces, size, name }; tell hears how many bytes have come. It throws a Fault, or
// AbortError when the signal aborts.
export async function take(dc, { signal, tell }) {
  const headers = token() ? { 'X-Consul-Token': token() } : {}
  const res = await fetch('/v1/' + query('snapshot', { dc }), { headers, cache: 'no-store', signal })
  if (!res.ok) {
    const said = (await res.text()).trim().slice(0, 500) || `The agent answered ${res.status}`
    throw res.status === 403 ? new Fault('denied', said, 'Give a token with acl = "write".', 403)
      : new Fault('other', said, 'Try again, or with legate snapshot save.', res.status)
  }
  const pieces = [], reader = res.body.getReader()
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.length
    if (size > most) {
      await reader.cancel()
      throw new Fault('other', 'The snapshot is larger than 256 MiB: too much to be kept by a browser', `Take it with: legate snapshot save -datacenter=${dc} FILE`)
    }
    pieces.push(value)
    tell(size)
  }
  return { pieces, size, name: nameOf(dc, res.headers.get('X-Consul-Index')) }
}

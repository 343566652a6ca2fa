// What an agent counts, read from its /metrics, and what changed between two readings.

// Series that are summed over their labels.
const sums = {
  legate_http_request_seconds_count: 'http', legate_dns_responses_total: 'dns', legate_rpc_seconds_count: 'rpc',
  legate_gossip_messages_total: 'gossip', legate_raft_commit_index: 'commits',
  process_resident_memory_bytes: 'memory', go_goroutines: 'goroutines', process_start_time_seconds: 'started',
}
const buckets = 'legate_http_request_seconds_bucket'

// read makes a reading of a text: sums by name, and how many requests took at most so many seconds.
export function read(text, at = Date.now()) {
  const reading = { at, within: new Map() }
  for (const line of text.split('\n')) {
    const name = /^[a-z_]+/.exec(line)?.[0], value = Number(line.slice(line.lastIndexOf(' ') + 1))
    if (name in sums) reading[sums[name]] = (reading[sums[name]] ?? 0) + value
    else if (name === buckets) {
      const most = Number(/[{,]le="([^"]+)"/.exec(line)?.[1].replace('+Inf', 'Infinity'))
      reading.within.set(most, (reading.within.get(most) ?? 0) + value)
    }
  }
  return reading
}

// quantile estimates, in seconds, what a share of the requests between two readings took at most:
// within a bucket they are taken to be spread evenly. NaN if there were none.
export function quantile(share, before, now) {
  const counts = [...now.within].map(([most, n]) => [most, n - (before.within.get(most) ?? 0)]).sort((a, b) => a[0] - b[0])
  const all = counts.at(-1)?.[1] ?? 0
  if (!(all > 0)) return NaN
  let low = 0, below = 0
  for (const [most, n] of counts) {
    if (n >= share * all) return most === Infinity ? low : low + (most - low) * (share * all - below) / Math.max(1, n - below)
    low = most
    below = n
  }
  return low
}

// point is what is drawn for a reading: rates since the one before, and how much there is now. What
// the agent does not count is undefined; what is not known, as after a restart, is null.
export function point(before, now) {
  const seconds = (now.at - before.at) / 1000, same = before.started === now.started && seconds > 0
  const rate = name => now[name] === undefined ? undefined : same && now[name] >= before[name] ? (now[name] - before[name]) / seconds : null
  const slow = same ? quantile(0.99, before, now) * 1000 : NaN
  const rates = Object.fromEntries(['http', 'dns', 'rpc', 'gossip', 'commits'].map(name => [name, rate(name)]))
  return {
    at: now.at / 1000, ...rates, slow: Number.isNaN(slow) ? null : slow,
    memory: now.memory === undefined ? undefined : now.memory / 1e6, goroutines: now.goroutines,
  }
}

// range is the last, least and most of what is known of a list; undefined if nothing is.
export function range(list) {
  const known = list.filter(v => Number.isFinite(v))
  return known.length ? { last: known.at(-1), least: Math.min(...known), most: Math.max(...known) } : undefined
}

// Questions to the HTTP API of the agent that served this page, and errors that say what to do.
import { settings } from './settings.js'

// The token is kept for this tab alone and until it is closed. A cookie would be sent by
// other sites' forms as well, and localStorage is read by every later page of this address.
const tokenKey = 'legate.token'
const watchers = new Set()

export const token = () => sessionStorage.getItem(tokenKey) ?? ''

export function setToken(secret) {
  if (secret) sessionStorage.setItem(tokenKey, secret)
  else sessionStorage.removeItem(tokenKey)
  for (const f of watchers) f()
}

// onToken calls f whenever another token is set; what it returns ends that.
export function onToken(f) {
  watchers.add(f)
  return () => watchers.delete(f)
}

const answerTime = 20_000 // milliseconds; a question that waits has its own time on top

// Fault is a question that was not answered as hoped: what happened, and what to do.
export class Fault extends Error {
  constructor(kind, what, hint = '', status = 0) {
    super(what)
    this.kind = kind // lost, denied, token, missing, invalid, conflict, unreachable, leader, busy, other
    this.hint = hint
    this.status = status
  }
}

function faultOf(status, reason, text, dc) {
  const where = dc || settings.datacenter
  const said = text.trim().slice(0, 500)
  switch (true) {
    case status === 403 && said === 'ACL not found':
      return new Fault('token', 'The token stands for nothing', 'It was deleted or has expired, or belongs to another datacenter. Give another one.', status)
    case reason === 'not-found' && status === 403: // of tokens and policies
      return new Fault('missing', 'There is no such thing', '', status)
    case status === 403:
      return new Fault('denied', said || 'Not allowed', token() ? 'Give a token that has this right.' : 'Give a token: nobody may see this without one.', status)
    case status === 404:
      return new Fault('missing', said || 'There is no such thing', '', status)
    case status === 400:
      return new Fault('invalid', said, '', status)
    case reason === 'unreachable-datacenter':
      return new Fault('unreachable', `${where} cannot be reached from ${settings.datacenter}`, 'The link may be cut. This page asks again by itself.', status)
    case reason === 'no-leader' || reason === 'not-leader' || reason === 'no-server':
      return new Fault('leader', `${where} has no leader at the moment`, 'An election takes seconds. If it lasts, a majority of its servers is down: start them.', status)
    case status === 429 || status === 503 || reason === 'busy':
      return new Fault('busy', said || 'The agent has too much to do', 'This page asks again, more slowly.', status)
  }
  return new Fault('other', said || `The agent answered ${status}`, 'Its log may say more (legate monitor).', status)
}

// query makes a path with parameters; those that are undefined are left out, true has no value.
export function query(path, params = {}) {
  const parts = Object.entries(params).filter(([, v]) => v !== undefined && v !== '' && v !== false)
    .map(([k, v]) => v === true ? k : `${k}=${encodeURIComponent(v)}`)
  return parts.length ? `${path}?${parts.join('&')}` : path
}

// open sends a question to what is below /v1/ and returns the answer, whose text is still to be
// read. It throws a Fault, or AbortError when the signal aborts. missing and conflict say that 404
// and 409 are answers, too.
export async function open(path, { params = {}, method = 'GET', body, signal, wait = 0, missing = false, conflict = false } = {}) {
  const limit = AbortSignal.timeout(answerTime + wait), ends = signal ? AbortSignal.any([signal, limit]) : limit
  const headers = token() ? { 'X-Consul-Token': token() } : {}
  let res, text
  try {
    res = await fetch('/v1/' + query(path, params), { method, body, headers, cache: 'no-store', signal: ends })
    if (res.ok || (missing && res.status === 404) || (conflict && res.status === 409)) return res
    text = await res.text()
  } catch (e) {
    if (signal?.aborted) throw e
    throw lost()
  }
  throw faultOf(res.status, res.headers.get('X-Legate-Reason'), text, params.dc)
}

const lost = () => new Fault('lost', `The agent ${settings.node} does not answer`, 'It may be stopped, or the way there cut. This page asks again by itself.')

// textOf reads an answer, at most so many bytes of it: what is behind them is not waited for.
async function textOf(res, most) {
  if (!most) return { text: await res.text(), cut: false }
  const reader = res.body.getReader(), decoder = new TextDecoder(), parts = []
  for (let bytes = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return { text: parts.join(''), cut: false }
    parts.push(decoder.decode(value, { stream: true }))
    bytes += value.length
    if (bytes <= most) continue
    reader.cancel().catch(() => {}) // the answer is not wanted any more
    return { text: parts.join(''), cut: true }
  }
}

// ask returns what is below /v1/ as { data, meta }: index, age in seconds, whether something was
// left out that the token may not see, who answered, how many letters it had, and whether it was
// cut since it had more than most bytes. With missing, data is null where there is nothing. parse
// reads the text. It throws what open throws.
export async function ask(path, { params = {}, wait = 0, missing = false, most = 0, parse = JSON.parse, ...rest } = {}) {
  const res = await open(path, { params: wait ? { ...params, wait: `${wait / 1000}s` } : params, wait, missing, ...rest })
  let text, cut
  try { ({ text, cut } = await textOf(res, most)) } catch (e) {
    if (rest.signal?.aborted) throw e
    throw lost()
  }
  const number = name => Number(res.headers.get(name) ?? 0)
  return {
    data: text === '' || res.status === 404 ? null : parse(text, cut),
    meta: {
      index: BigInt(res.headers.get('X-Consul-Index') ?? 0), // those of events are above 2^53
      age: number('Age'),
      hidden: res.headers.get('X-Consul-Results-Filtered-By-ACLs') === 'true',
      from: res.headers.get('X-Legate-Datacenter') ?? settings.datacenter,
      at: Date.now(),
      size: text.length,
      cut,
    },
  }
}

// Questions about many keys at once.
import { ask, open, Fault } from './api.js'
import { bodyOf } from './bulk.js'
import { Splitter, exact, mostListed, namesOf, unasked, urlOf } from './kv.js'
import { decode } from './value.js'

const json = { method: 'PUT', parse: exact }
const mostRead = 64, fewRead = 8 // keys of one question; few where values are long
const long = 4 << 20 // bytes of an answer

// readKeys returns a Map of the entries that there are of the keys; progress is told of how many
// were looked at, keep says what is kept of an entry.
export async function readKeys(dc, keys, { progress = () => {}, signal, keep = e => e } = {}) {
  const found = new Map()
  for (let at = 0, n = mostRead; at < keys.length;) {
    const part = keys.slice(at, at + n)
    const body = JSON.stringify(part.map(Key => ({ KV: { Verb: 'get-or-empty', Key } })))
    const { data, meta } = await ask('txn', { ...json, body, params: { dc }, signal })
    for (const { KV } of data.Results ?? []) if (KV.ModifyIndex > 0) found.set(KV.Key, keep(KV))
    at += part.length
    n = meta.size > long ? fewRead : mostRead
    progress(at)
  }
  return found
}

// namesBelow lists the keys below a folder; cut says that there are more than a page lists.
export async function namesBelow(dc, folder) {
  const { data, meta } = await ask(urlOf(folder), { params: { dc, keys: true }, missing: true, most: mostListed.bytes, parse: namesOf })
  return { names: data ?? [], cut: meta.cut }
}

// eachBelow calls f with the entries below a folder as they come, until it returns false; it
// returns whether it went to the end. most is how many bytes are read.
export async function eachBelow(dc, folder, most, f, signal) {
  const end = new AbortController(), both = signal ? AbortSignal.any([signal, end.signal]) : end.signal
  const res = await open(urlOf(folder), { params: { dc, recurse: true }, missing: true, signal: both, wait: 120_000 })
  if (res.status === 404) return true
  let going = true, bytes = 0
  const splitter = new Splitter(e => { going &&= f(e) !== false })
  const reader = res.body.getReader(), decoder = new TextDecoder()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return true
      bytes += value.length
      if (bytes > most) return false
      splitter.push(decoder.decode(value, { stream: true }))
      if (!going) return false
    }
  } catch (e) {
    if (signal?.aborted) throw e
    throw new Fault('lost', 'The answer broke off in the middle', 'Try it again.')
  } finally { end.abort() }
}

// writing is how changes of many keys are carried out in a datacenter: what run of bulk.js takes.
export const writing = dc => ({
  look: keys => readKeys(dc, keys),
  send: async ops => {
    const { data } = await ask('txn', { ...json, body: bodyOf(ops), params: { dc }, conflict: true })
    return data.Errors ?? []
  },
  single: async op => {
    if (unasked(op.key)) throw new Fault('invalid', `${op.key}: ${unasked(op.key)}`, '', 400)
    const params = { dc, cas: String(op.index), flags: String(op.flags) }
    return (await ask(urlOf(op.key), { method: 'PUT', body: decode(op.value), params })).data
  },
})

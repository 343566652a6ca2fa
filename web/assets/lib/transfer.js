// Files of keys: those that legate kv export writes and legate kv import reads.

import { plural } from './fmt.js'
import { command } from './kv.js'

// Bounds of what goes into a file and comes out of one. Beyond them the command line does it.
export const mostExported = { bytes: 64 << 20, keys: 100_000 }
export const mostImported = { bytes: 16 << 20, keys: 20_000 }

// FileText collects entries as the text of a file, in pieces.
export class FileText {
  constructor() { Object.assign(this, { pieces: [], count: 0, bytes: 0 }) }

  add({ Key, Flags, Value }) {
    const fields = [`"key": ${JSON.stringify(Key)}`, `"flags": ${Flags}`, `"value": "${Value ?? ''}"`]
    const piece = `${this.count ? ',' : '['}\n\t{\n\t\t${fields.join(',\n\t\t')}\n\t}`
    this.pieces.push(piece)
    this.count++
    this.bytes += piece.length
    return this.bytes <= mostExported.bytes && this.count <= mostExported.keys
  }

  end() { return [...this.pieces, this.count ? '\n]\n' : '[]\n'] }
}

const mostFlags = 2n ** 64n - 1n

// Wrong is what a file has that cannot be read; hint says what to do.
class Wrong extends Error {
  constructor(message, hint) { super(message); this.kind = 'invalid'; this.hint = hint }
}

const other = 'Choose a file that legate kv export or this page wrote.'

// readFile makes entries { Key, Flags, Value } of a file's text, flags as text of digits. Folder
// is put before each key. It throws what is wrong before anything is written. parse reads JSON and
// keeps large flags; fault says where a text is none. dc is the datacenter that the keys are for.
export function readFile(text, folder, { parse, fault, dc }) {
  const found = fault(text)
  if (found) throw new Wrong(`The file is no JSON: line ${found.line}, column ${found.column}: ${found.what}`, other)
  const list = parse(text)
  if (!Array.isArray(list)) throw new Wrong('The file has no list of keys', other)
  if (list.length > mostImported.keys) {
    const message = `The file has ${plural(list.length, 'key')}; here it is ${plural(mostImported.keys, 'key')} at most`
    throw new Wrong(message, `The command line takes it: ${command('import', dc, '@FILE')}`)
  }
  const before = folder.replace(/^\/+|\/+$/g, ''), seen = new Map()
  return list.map((k, i) => {
    const entry = entryOf(k, i + 1, before), twin = seen.get(entry.Key)
    if (twin) throw new Wrong(`Entries ${twin} and ${i + 1} are both the key ${entry.Key}`, 'Take one of them out of the file.')
    seen.set(entry.Key, i + 1)
    return entry
  })
}

function entryOf(k, place, before) {
  const wrong = (what, hint = 'Correct the file, or export it anew.') => { throw new Wrong(`Entry ${place} ${what}`, hint) }
  if (typeof k !== 'object' || k === null || typeof k.key !== 'string' || !k.key.replaceAll('/', '')) wrong('has no key')
  if (![undefined, '', 'default'].includes(k.namespace) || ![undefined, '', 'default'].includes(k.partition)) {
    wrong('has a namespace or a partition', 'These are features of Consul Enterprise: take them out of the file.')
  }
  if (!k.key.isWellFormed()) wrong('has a key with half a character (\\ud800 to \\udfff): the agent would store another name')
  const flags = String(k.flags ?? 0)
  if (!/^\d{1,20}$/.test(flags) || BigInt(flags) > mostFlags) wrong('has flags that are no whole number below 2^64')
  const key = k.key.replace(/^\//, '')
  return { Key: before ? `${before}/${key}` : key, Flags: flags, Value: base64(k.value ?? '') ?? wrong('has a value that is no base64') }
}

// base64 is a value as the agent writes it; undefined if it is none.
function base64(value) {
  if (typeof value !== 'string' || value.length % 4 !== 0) return undefined
  try { return btoa(atob(value)) } catch { return undefined }
}

// noted is what is kept of an entry that is there, of the one that is to be: not its value.
export const noted = (wanted, is) => ({
  ModifyIndex: is.ModifyIndex, Session: is.Session, same: (is.Value ?? '') === wanted.Value && String(is.Flags) === wanted.Flags,
})

// plan sorts what a file has by what is there now, a Map of what was noted by key: changes to
// create and to change keys, and those that are the same, as bulk.js takes them.
export function plan(wanted, present) {
  const out = { create: [], change: [], same: [] }
  for (const w of wanted) {
    const is = present.get(w.Key), op = { verb: 'cas', key: w.Key, flags: w.Flags, value: w.Value, index: is?.ModifyIndex ?? 0 }
    if (!is) out.create.push(op)
    else out[is.same ? 'same' : 'change'].push({ ...op, session: is.Session })
  }
  return out
}

// Changes of many keys, in transactions of some at a time. Each change depends on its key being as
// it was when it was read, so that nobody overwrites another; and what is said in the end is what is
// known, also when the way to the agent breaks off in the middle.
//
// A change is { verb, key, index } and, to write, { flags, value }: cas or delete-cas, the
// ModifyIndex that the key has (0: there is none), and the value in base64.

const mostOps = 64 // of a transaction, as everybody takes it
const mostBytes = 400_000 // of its body; agents take 512 KiB unless they are told otherwise

const sizeOf = op => 120 + 3 * op.key.length + (op.value?.length ?? 0)

// partsOf cuts changes into what goes into a transaction each.
export function partsOf(ops) {
  const parts = []
  let bytes = Infinity
  for (const op of ops) {
    if (bytes + sizeOf(op) > mostBytes || parts.at(-1).length === mostOps) { parts.push([]); bytes = 0 }
    parts.at(-1).push(op)
    bytes += sizeOf(op)
  }
  return parts
}

// bodyOf is the text of a transaction. Flags are put in as they are: they may have more digits
// than a number of JavaScript.
export function bodyOf(ops) {
  const written = op => op.verb === 'cas' && { Value: op.value, Flags: 0 }
  const body = ops.map(op => ({ KV: { Verb: op.verb, Key: op.key, Index: op.index, ...written(op) } }))
  let at = 0
  return JSON.stringify(body).replace(/"Flags":0\}\}/g, () => {
    while (ops[at].verb !== 'cas') at++
    return `"Flags":${digits(ops[at++].flags)}}}`
  })
}

const digits = flags => /^\d{1,20}$/.test(flags) ? String(flags) : '0'

// run carries changes out and returns what became of them, as lists: done; changed, which were
// changed by somebody else meanwhile; refused, { op, why }, by the agent; unsure, of which it is
// not known; left, which were not begun. error is why it broke off, if it did.
//
// send carries out a list of changes, all or none, and returns [{ OpIndex, What }] of those because
// of which it was none. single carries out one that is too large for a transaction, and returns
// whether it took place. look reads keys: a Map of entries. stopped says whether somebody wants it
// to end after the part that is under way.
export async function run(ops, { send, single, look, progress = () => {}, stopped = () => false }) {
  const out = { done: [], changed: [], refused: [], unsure: [], left: [], error: undefined }
  const parts = partsOf(ops)
  while (parts.length > 0 && !stopped()) {
    const part = parts.shift()
    try {
      const alone = part.length === 1 && sizeOf(part[0]) > mostBytes
      const faults = alone ? await one(part[0], single) : await send(part)
      if (faults.length === 0) out.done.push(...part)
      else parts.unshift(...await sort(part, faults, look, out))
    } catch (error) {
      if (error.status === 413 && part.length > 1) { // this agent takes less
        parts.unshift(part.slice(0, part.length >> 1), part.slice(part.length >> 1))
      } else {
        await settle(part, error, look, out)
        break
      }
    }
    progress(ops.length - parts.reduce((sum, p) => sum + p.length, 0))
  }
  out.left.push(...parts.flat())
  return out
}

const one = async (op, single) => await single(op) ? [] : [{ OpIndex: 0, What: '' }]

// sort finds out why changes were refused, by what is there now, and returns what is left to do.
async function sort(part, faults, look, out) {
  const why = new Map(faults.map(f => [part[f.OpIndex], f.What])), bad = part.filter(op => why.has(op))
  if (bad.length === 0) throw Object.assign(new Error(faults[0].What), { status: 400, hint: '' })
  const now = await look(bad.map(op => op.key))
  for (const op of bad) {
    if (indexOf(now, op) === op.index) out.refused.push({ op, why: why.get(op) })
    else out.changed.push(op)
  }
  const rest = part.filter(op => !why.has(op))
  return rest.length > 0 ? [rest] : []
}

const indexOf = (now, op) => now.get(op.key)?.ModifyIndex ?? 0

// settle finds out what became of a part whose answer did not come. What was refused was not done;
// of the rest what is there now tells, if it can be asked for.
async function settle(part, error, look, out) {
  out.error = error
  if (error.status >= 400 && error.status < 500) return out.left.push(...part)
  let now
  try { now = await look(part.map(op => op.key)) } catch { return out.unsure.push(...part) }
  for (const op of part) out[stands(now.get(op.key), op) ? 'done' : indexOf(now, op) === op.index ? 'unsure' : 'changed'].push(op)
}

// stands says whether what a change would make is there.
const stands = (entry, op) => op.verb === 'delete-cas' ? !entry
  : !!entry && (entry.Value ?? '') === op.value && String(entry.Flags) === String(op.flags)

// inWords are the parts of a report as sentences; done is what was to be done: deleted, written.
export function inWords(result, done, plural) {
  const were = key => `${plural(result[key].length, 'key')} ${result[key].length === 1 ? 'was' : 'were'}`
  const lines = [`${were('done')} ${done}.`]
  if (result.changed.length) lines.push(`${were('changed')} not ${done}: changed by somebody else meanwhile.`)
  if (result.refused.length) lines.push(`${were('refused')} refused by the agent: ${result.refused[0].why || 'it does not say why'}.`)
  if (result.unsure.length) lines.push(`Of ${plural(result.unsure.length, 'key')} it is not known: no answer came. They may be ${done} yet.`)
  if (result.left.length) lines.push(`${were('left')} not begun with.`)
  return lines
}

import test from 'node:test'
import assert from 'node:assert/strict'
import { bodyOf, inWords, partsOf, run } from '../assets/lib/bulk.js'
import { plural } from '../assets/lib/fmt.js'

const ops = (n, verb = 'delete-cas') => Array.from({ length: n }, (_, i) => ({ verb, key: `k${i}`, index: 10, ...(verb === 'cas' && { flags: '0', value: 'eA==' }) }))

// store is an agent with keys: transactions take place whole or not at all.
function store(keys, { breaks = () => {}, ...rest } = {}) {
  const has = new Map(keys.map(([key, index]) => [key, { Key: key, ModifyIndex: index, Flags: 0, Value: null }])), sent = []
  const apply = op => op.verb === 'cas' ? has.set(op.key, { Key: op.key, ModifyIndex: 99, Flags: op.flags, Value: op.value }) : has.delete(op.key)
  const stale = op => has.get(op.key)?.ModifyIndex !== (op.index || undefined) && !(op.verb === 'delete-cas' && !has.has(op.key))
  return {
    has, sent, look: async wanted => new Map(wanted.filter(k => has.has(k)).map(k => [k, has.get(k)])),
    send: async part => {
      sent.push(part.length)
      breaks(sent.length, 'before', part)
      const faults = part.map((op, i) => ({ OpIndex: i, What: 'index is stale' })).filter(f => stale(part[f.OpIndex]))
      if (faults.length === 0) part.forEach(apply)
      breaks(sent.length, 'after', part)
      return faults
    },
    single: async op => !stale(op) && Boolean(apply(op)), ...rest,
  }
}

const counts = r => ['done', 'changed', 'refused', 'unsure', 'left'].map(k => r[k].length)
const fault = (status, message = 'no') => Object.assign(new Error(message), { status })

test('a transaction has 64 changes at most, and a bounded body', () => {
  assert.deepEqual(partsOf(ops(130)).map(p => p.length), [64, 64, 2])
  const large = ops(5, 'cas').map(op => ({ ...op, value: 'x'.repeat(150_000) }))
  assert.deepEqual(partsOf(large).map(p => p.length), [2, 2, 1])
  for (const part of partsOf(large)) assert.ok(bodyOf(part).length < 512 << 10)
  assert.deepEqual(partsOf([]), [])
})

test('a body has flags with all their digits', () => {
  const body = bodyOf([{ verb: 'delete-cas', key: 'a","Flags":0}}', index: 3 }, { verb: 'cas', key: 'b', index: 0, flags: '18446744073709551615', value: 'eA==' }])
  assert.equal(body, '[{"KV":{"Verb":"delete-cas","Key":"a\\",\\"Flags\\":0}}","Index":3}},{"KV":{"Verb":"cas","Key":"b","Index":0,"Value":"eA==","Flags":18446744073709551615}}]')
})

test('all is done, and told of as it goes', async () => {
  const s = store(ops(130).map(o => [o.key, 10])), told = []
  assert.deepEqual(counts(await run(ops(130), { ...s, progress: n => told.push(n) })), [130, 0, 0, 0, 0])
  assert.deepEqual([s.has.size, told], [0, [64, 128, 130]])
})

test('what was changed meanwhile stays, and the rest is done', async () => {
  const s = store(ops(70).map((o, i) => [o.key, i === 5 || i === 66 ? 11 : 10]))
  const r = await run(ops(70), s)
  assert.deepEqual(counts(r), [68, 2, 0, 0, 0])
  assert.deepEqual([...s.has.keys()], ['k5', 'k66'])
})

test('what the agent refuses is told apart from what was changed', async () => {
  const s = store(ops(3).map(o => [o.key, 10]))
  const r = await run(ops(3), { ...s, send: async part => part.length === 3 ? [{ OpIndex: 1, What: 'Permission denied' }] : s.send(part) })
  assert.deepEqual(counts(r), [2, 0, 1, 0, 0])
  assert.equal(r.refused[0].why, 'Permission denied')
})

test('when it breaks off, what is known is said, and no more', async () => {
  const breaking = (when, error, rest) => {
    const s = store(ops(200).map(o => [o.key, 10]), { breaks: (n, at) => { if (n === 2 && at === when) throw error }, ...rest })
    return run(ops(200), s)
  }
  let r = await breaking('after', fault(0)) // the answer is lost: it was done
  assert.deepEqual([counts(r), r.error.status], [[128, 0, 0, 0, 72], 0])
  assert.deepEqual(counts(await breaking('before', fault(500))), [64, 0, 0, 64, 72])
  assert.deepEqual(counts(await breaking('before', fault(403))), [64, 0, 0, 0, 136])
  assert.deepEqual(counts(await breaking('after', fault(0), { look: async () => { throw fault(0) } })), [64, 0, 0, 64, 72])
  const words = inWords(r, 'deleted', plural).join(' ')
  assert.equal(words, '128 keys were deleted. 72 keys were not begun with.')
})

test('somebody can end it between two parts', async () => {
  const s = store(ops(200).map(o => [o.key, 10]))
  const r = await run(ops(200), { ...s, stopped: () => s.sent.length === 1 })
  assert.deepEqual([counts(r), r.error], [[64, 0, 0, 0, 136], undefined])
})

test('an agent that takes less gets less, and one large value alone', async () => {
  const s = store([]), writes = ops(64, 'cas').map(o => ({ ...o, index: 0 }))
  const small = async part => { if (part.length > 20) throw fault(413); return s.send(part) }
  assert.deepEqual(counts(await run(writes, { ...s, send: small })), [64, 0, 0, 0, 0])
  assert.equal(s.has.size, 64)
  let alone = 0
  const large = [{ verb: 'cas', key: 'large', index: 0, flags: '0', value: 'x'.repeat(600_000) }]
  const none = async () => { throw fault(500) }
  assert.deepEqual(counts(await run(large, { ...s, send: none, single: async () => { alone++; return true } })), [1, 0, 0, 0, 0])
  assert.equal(alone, 1)
  s.has.set('large', { ModifyIndex: 7 })
  assert.deepEqual(counts(await run(large, { ...s, single: async () => false })), [0, 1, 0, 0, 0])
})

import test from 'node:test'
import assert from 'node:assert/strict'
import { mostExported } from '../assets/lib/transfer.js'

globalThis.document = { querySelector: () => ({ content: '{"datacenter":"dc1","node":"n1"}' }) }
globalThis.sessionStorage = { getItem: () => null }
const { exportKeys } = await import('../assets/parts/keyexport.js')

test('an export that grows too large is not read to its end', async t => {
  let asked = 0
  t.mock.method(globalThis, 'fetch', async (url, { body, signal }) => {
    signal.throwIfAborted()
    asked++
    const Results = JSON.parse(body).map(({ KV: { Key } }) => ({ KV: { Key, Flags: 0, Value: 'eA==', ModifyIndex: 1 } }))
    return new Response(JSON.stringify({ Results }))
  })
  t.after((bytes => () => { mostExported.bytes = bytes })(mostExported.bytes))
  mostExported.bytes = 1000
  const keys = Array.from({ length: 10_000 }, (_, i) => `k${i}`)
  await assert.rejects(exportKeys('dc1', keys, 'a/'), /more than a page takes/)
  assert.equal(asked, 1)
})

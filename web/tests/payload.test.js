import test from 'node:test'
import assert from 'node:assert/strict'
import { payloadOf } from '../assets/lib/payload.js'

const of = (bytes, hex) => payloadOf(Buffer.from(bytes).toString('base64'), hex)

test('text is text, and bytes are hex', () => {
  assert.deepEqual(of('version 1 – ok\n'), { text: 'version 1 – ok\n', hex: false, size: 17, cut: false })
  assert.deepEqual(of([0, 1, 255]), { text: '00 01 ff', hex: true, size: 3, cut: false })
  assert.equal(of([0x61, 0x1b, 0x5b]).hex, true) // what moves the cursor of a terminal is no text
  assert.deepEqual(of('ab', true), { text: '61 62', hex: true, size: 2, cut: false })
  assert.deepEqual(payloadOf(null), { text: '', hex: false, size: 0, cut: false })
})

test('what is long is cut, also within a character', () => {
  const p = of('x' + 'é'.repeat(4000))
  assert.deepEqual([p.hex, p.cut, p.size], [false, true, 8001])
  assert.ok(p.text.length < 2100)
})

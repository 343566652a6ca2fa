import test from 'node:test'
import assert from 'node:assert/strict'
import { beginning, decode, hexOf, textOf } from '../assets/lib/value.js'

test('bytes are text only if a text field keeps them', () => {
  for (const [bytes, want] of [['', ''], ['grüße\n\t', 'grüße\n\t'], ['a\rb', undefined], ['a\0', undefined]]) assert.equal(textOf(new TextEncoder().encode(bytes)), want)
  assert.equal(textOf(Uint8Array.of(0xff, 0xfe)), undefined)
  assert.equal(textOf(Uint8Array.of(0xef, 0xbb, 0xbf, 65)), '\ufeffA')
  assert.deepEqual([...decode('AP8=')], [0, 255])
  assert.equal(decode(null).length, 0)
})

test('other bytes are shown', () => {
  assert.equal(hexOf(Uint8Array.of(0, 65, 255)), '000000  00 41 ff                                         .A.')
  assert.equal(hexOf(new Uint8Array(100), 32).split('\n').length, 2)
})

test('the beginning of a long text has whole lines, or at least whole characters', () => {
  assert.equal(beginning('short', 10), 'short')
  assert.equal(beginning('one\ntwo two\nthree', 13), 'one\ntwo two\n')
  assert.equal(beginning('no line ends here', 7), 'no line')
  assert.equal(beginning('abc\u{1f600}', 4), 'abc')
})

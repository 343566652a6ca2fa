import test from 'node:test'
import assert from 'node:assert/strict'
import { decode, textOf, hexOf, diff, around } from '../assets/lib/value.js'

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

// apply makes the second text of a difference.
const apply = lines => lines.filter(([s]) => s !== '-').map(([, l]) => l).join('\n')

test('a difference leads from one text to the other', () => {
  for (const [a, b] of [['', 'x'], ['a\nb\nc', 'a\nX\nc'], ['a\nb', 'b\na'], ['1\n2\n3\n4', '2\n4\n5'], ['same', 'same']]) {
    assert.equal(apply(diff(a, b)), b)
    assert.equal(diff(a, b).filter(([s]) => s !== '+').map(([, l]) => l).join('\n'), a)
  }
  assert.deepEqual(diff('a\nb\nc', 'a\nX\nc'), [[' ', 'a'], ['-', 'b'], ['+', 'X'], [' ', 'c']])
  const long = Array.from({ length: 4000 }, (_, i) => `line ${i}`).join('\n')
  assert.equal(apply(diff(long, long.replaceAll('line', 'LINE'))), long.replaceAll('line', 'LINE'))
})

test('what is far from a change is left out', () => {
  const lines = diff('1\n2\n3\n4\n5\n6\n7\n8\n9', '1\n2\n3\n4\nX\n6\n7\n8\n9')
  assert.deepEqual(around(lines, 1), [[null, 3], [' ', '4'], ['-', '5'], ['+', 'X'], [' ', '6'], [null, 3]])
})

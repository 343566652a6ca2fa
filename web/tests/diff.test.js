import test from 'node:test'
import assert from 'node:assert/strict'
import { around, diff, shown } from '../assets/lib/diff.js'
import { cpu } from './cpu.js'

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

test('it takes a short time, and few lines are drawn, however long the texts are', () => {
  const begin = cpu(), n = 512 << 10
  for (const [a, b] of [['\n'.repeat(n), 'x\n'.repeat(n / 2)], ['x'.repeat(n), 'x'.repeat(n - 1) + 'y'],
    [Array.from({ length: 1400 }, (_, i) => 'x'.repeat(360) + i % 7).join('\n'), Array.from({ length: 1400 }, (_, i) => 'x'.repeat(360) + i % 5).join('\n')]]) {
    const lines = around(diff(a, b)), drawn = shown(lines)
    assert.equal(drawn.lines.length + drawn.more, lines.length)
    assert.ok(drawn.lines.length <= 1000 && drawn.lines.every(([, l]) => typeof l === 'number' || l.length <= 1004))
  }
  assert.ok(cpu() - begin < 3000, `${cpu() - begin} ms`)
})

test('of a long line the part is shown that differs', () => {
  const a = 'x'.repeat(5000) + 'old' + 'y'.repeat(5000), b = 'x'.repeat(5000) + 'new' + 'y'.repeat(5000)
  const { lines } = shown(diff(a, b), 10, 100)
  assert.deepEqual(lines.map(([s, l]) => [s, l.includes('old'), l.includes('new')]), [['-', true, false], ['+', false, true]])
})

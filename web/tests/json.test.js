import test from 'node:test'
import assert from 'node:assert/strict'
import { jsonFault } from '../assets/lib/json.js'
import { cpu } from './cpu.js'

test('a fault has a line, a column and a word', () => {
  for (const [text, line, column, what] of [
    ['', 1, 1, /nothing/], ['{"a": 1', 1, 8, /ends before the } of line 1/], ['{\n  "a": 1\n  "b": 2\n}', 3, 3, /a , or } is missing/],
    ['[1, 2,]', 1, 7, /a , stands before the end/], ['{"a": 1,}', 1, 9, /a , stands before the end/], ['{a: 1}', 1, 2, /name in "/],
    ['{\'a\': 1}', 1, 2, /not in '/], ['{"a" 1}', 1, 6, /a : is missing/], ['{"a": yes}', 1, 7, /yes is no value/], ['{"a": "x\n"}', 1, 9, /line ends/],
    ['["\\q"]', 1, 3, /backslash/], ['[1] 2', 1, 5, /something more/], ['{"a": 01}', 1, 8, /a , or } is missing/], ['[1}', 1, 3, /a , or ] is missing/],
  ]) {
    const got = jsonFault(text)
    assert.deepEqual([got?.line, got?.column], [line, column], text)
    assert.match(got.what, what)
  }
})

// What JavaScript itself reads is the judge, for texts that are damaged in each possible place.
test('it finds faults where the language does, and nowhere else', () => {
  const good = ['{"a":[1,-2.5e+3,true,false,null,"\\u00e9\\n",{}],"b":{"c":[]}}', ' [ ] ', '0', '"x"', '[[],[[]]]', '-0.1E-7']
  const reads = text => { try { JSON.parse(text); return true } catch { return false } }
  let broken = 0
  for (const text of good) {
    assert.equal(jsonFault(text), undefined)
    for (let i = 0; i <= text.length; i++) {
      for (const other of [text.slice(0, i) + text.slice(i + 1), ...[...'{}[],:"0-.e\\n\t'].map(c => text.slice(0, i) + c + text.slice(i))]) {
        assert.equal(jsonFault(other) === undefined, reads(other), other)
        broken += !reads(other)
      }
    }
  }
  assert.ok(broken > 500)
})

test('it takes a short time, whatever the text is', () => {
  const n = 512 << 10, begin = cpu()
  for (const text of ['['.repeat(n), '"'.repeat(n), '"' + '\\\\'.repeat(n / 2), '[' + '1,'.repeat(n / 2), '{"a":'.repeat(n / 5), ' '.repeat(n), '\n'.repeat(n)]) assert.ok(jsonFault(text))
  assert.ok(cpu() - begin < 2000, `${cpu() - begin} ms`)
})

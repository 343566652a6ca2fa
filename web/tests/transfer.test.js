import test from 'node:test'
import assert from 'node:assert/strict'
import { FileText, noted, plan, readFile } from '../assets/lib/transfer.js'
import { exact } from '../assets/lib/kv.js'
import { jsonFault } from '../assets/lib/json.js'
import { ruleOf, touching, originOf, behind, warning } from '../assets/lib/replication.js'

const read = (text, folder = '') => readFile(text, folder, { parse: exact, fault: jsonFault, dc: 'dc2' })

test('a file is what the command line writes', () => {
  const file = new FileText()
  assert.equal(file.end().join(''), '[]\n')
  file.add({ Key: 'a/"b"', Flags: '18446744073709551615', Value: 'eA==' })
  file.add({ Key: 'c', Flags: 0, Value: null })
  const text = file.end().join('')
  assert.equal(text, '[\n\t{\n\t\t"key": "a/\\"b\\"",\n\t\t"flags": 18446744073709551615,\n\t\t"value": "eA=="\n\t},\n\t{\n\t\t"key": "c",\n\t\t"flags": 0,\n\t\t"value": ""\n\t}\n]\n')
  assert.deepEqual(read(text), [{ Key: 'a/"b"', Flags: '18446744073709551615', Value: 'eA==' }, { Key: 'c', Flags: '0', Value: '' }])
})

test('a folder goes before the keys, as the command line puts it there', () => {
  assert.deepEqual(read('[{"key":"/a"},{"key":"b/c"}]', '/to/here/').map(e => e.Key), ['to/here/a', 'to/here/b/c'])
})

test('what is wrong with a file is said before anything is written', () => {
  for (const [text, want] of [['[{"key": "a",]', /line 1, column 14/], ['{}', /no list/], ['[{"key":"//"}]', /Entry 1 has no key/], ['[{"key":"a"},null]', /Entry 2 has no key/],
    ['[{"key":"a"},{"key":"/a"}]', /1 and 2 are both the key a/], ['[{"key":"a","value":"%"}]', /no base64/], ['[{"key":"a","value":"eA"}]', /no base64/], ['[{"key":"a","flags":-1}]', /flags/],
    ['[{"key":"a","flags":18446744073709551616}]', /flags/], ['[{"key":"a","namespace":"x"}]', /namespace/], ['[{"key":"a\\ud800"}]', /Entry 1 has a key with half a character/],
    ['[{"key":"a","flags":1234567890123456.5}]', /flags/], ['[{"key":"a","flags":1234567890123456e9}]', /flags/], [JSON.stringify(Array(20001).fill({ key: 'a' })), /20,000 keys at most/]]) {
    assert.throws(() => read(text), e => want.test(e.message) && e.kind === 'invalid' && e.hint !== '', text.slice(0, 60))
  }
})

test('who is sent to the command line is told the datacenter', () => {
  assert.throws(() => read(JSON.stringify(Array(20001).fill({ key: 'a' }))), e => e.hint.endsWith('legate kv import -datacenter=dc2 @FILE'))
})

test('a plan says what is new, what changes and what stays', () => {
  const wanted = read('[{"key":"new","value":"eA=="},{"key":"same","value":"eA==","flags":7},{"key":"value","value":"eA=="},{"key":"flags","flags":1},{"key":"empty"}]')
  const now = new Map([
    ['same', { Value: 'eA==', Flags: 7, ModifyIndex: 3 }], ['value', { Value: 'eQ==', Flags: 0, ModifyIndex: 4, Session: 's' }], ['flags', { Value: null, Flags: 0, ModifyIndex: 5 }], ['empty', { Value: null, Flags: 0, ModifyIndex: 6 }]]
    .map(([key, is]) => [key, noted(wanted.find(w => w.Key === key), is)]))
  const p = plan(wanted, now)
  assert.deepEqual([p.create, p.change, p.same].map(l => l.map(o => [o.key, o.index])), [[['new', 0]], [['value', 4], ['flags', 5]], [['same', 3], ['empty', 6]]])
  assert.equal(p.change[0].session, 's')
})

test('rules are told of where they touch a folder or key', () => {
  const rules = [{ Target: 'config/', Prefix: 'c/', Datacenter: 'dc2', Mode: 'mirror' }, { Target: 'shared/', Prefix: 'shared/', Datacenter: 'dc3', Mode: 'newest' }]
  const names = name => touching(rules, name).map(r => r.Target)
  assert.deepEqual(['', 'config/', 'config/a/', 'config/a', 'conf', 'other/', 'shared/x'].map(names), [['config/', 'shared/'], ['config/'], ['config/'], ['config/'], [], [], ['shared/']])
  assert.equal(originOf(rules[0], 'config/a'), 'c/a')
  assert.equal(ruleOf(rules, 'config'), undefined)
  assert.match(warning(rules[0]), /refuses.*dc2/)
  assert.match(warning(rules[1]), /overwritten/)
  assert.equal(behind({ LagSeconds: 14.2, LagEntries: 1 }), '14 seconds behind, 1 key on the way')
  assert.equal(behind({ LagSeconds: 0, LagEntries: 0 }), '')
})

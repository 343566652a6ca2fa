import test from 'node:test'
import assert from 'node:assert/strict'
import { append, notes, wordsOf } from '../assets/lib/rules.js'

test('rules are said in plain words', () => {
  for (const [Resource, Prefix, Name, Access, want] of [
    ['service', true, 'web', 'read', 'read every service whose name begins with web'], ['service', false, 'web', 'write', 'read and register the service web'],
    ['key', true, undefined, 'list', 'read and list every key'], ['key', true, 'a/', 'deny', 'no access to any key whose name begins with a/'],
    ['session', false, 'n1', 'write', 'see, make and end sessions on the node n1'], ['acl', false, undefined, 'write', 'change tokens, policies and roles, and so get every right'],
    ['operator', false, undefined, 'deny', 'no access to the servers'], ['identity', false, 'x', 'read', 'not explained here'],
    ['service', false, 'every', 'read', 'read the service every'], ['session', true, '', 'deny', 'no access to sessions on any node'],
  ]) assert.equal(wordsOf({ Resource, Prefix, Name, Access }), want)
})

test('what is said of a text is in the order of its lines, faults first', () => {
  const said = notes({ Rules: [{ Line: 3, Resource: 'acl', Access: 'read' }, { Line: 1, Resource: 'keyring', Access: 'read' }], Faults: [{ Line: 3, Text: 'given twice' }, { Text: 'too many' }] })
  assert.deepEqual(said.map(n => [n.line, n.fault]), [[0, true], [1, false], [3, true], [3, false]])
})

test('a template is put below what is there', () => {
  assert.equal(append(' \n', 'b\n'), 'b\n')
  assert.equal(append('a', 'b\n'), 'a\n\nb\n')
  assert.equal(append('a\n\n\n', 'b\n'), 'a\n\nb\n')
})

import test from 'node:test'
import assert from 'node:assert/strict'
import { duration, headline, join, members, milliseconds } from '../assets/lib/servers.js'

const limits = { LastContactThreshold: '200ms', MaxTrailingLogs: 250 }
const server = (id, more) => ({ ID: id, Name: id, Address: id + ':8300', NodeStatus: 'alive', LastContact: '5ms', LastTerm: 3, LastIndex: 1000, Healthy: true, Status: 'voter', ...more })
const state = (...list) => ({ Servers: Object.fromEntries(list.map(s => [s.ID, s])) })
const peers = (...ids) => ({ Servers: ids.map(id => ({ ID: id, Node: id, Leader: id === 'a', Voter: true, LastIndex: 1 })) })

test('durations are read as Go writes them', () => {
  for (const [text, want] of [['1m0.5s', 60500], ['12µs', 0.012], ['200ms', 200], ['1h2m3s', 3723000], ['0s', 0]]) assert.equal(milliseconds(text), want, text)
  for (const text of ['never', '', undefined]) assert.ok(Number.isNaN(milliseconds(text)))
})

test('durations have room before their units', () => {
  for (const [text, want] of [['200ms', '200 ms'], ['1m0.5s', '1 m 0.5 s'], ['12µs', '12 µs']]) assert.equal(duration(text), want)
})

test('the ill come first and say why', () => {
  const rows = join(state(server('a', { Status: 'leader', LastContact: '0s' }), server('b', { Healthy: false, LastContact: '3s', LastTerm: 2, LastIndex: 700 }), server('c', { Healthy: false, NodeStatus: 'failed', LastContact: 'never' }), server('d')), peers('a', 'b', 'c', 'x'), limits)
  assert.deepEqual(rows.map(r => r.name), ['b', 'c', 'd', 'x', 'a'])
  assert.deepEqual(rows[0].reasons, ['heard the leader 3 s ago, 200 ms is allowed', 'is in term 2, the leader in 3', 'lacks 300 entries, 250 are allowed'])
  assert.deepEqual(rows[1].reasons, ['gossip says that it is failed', 'heard the leader never, 200 ms is allowed'])
  assert.deepEqual(rows[2].reasons, ['is no peer of the Raft group'])
  assert.match(rows[3].reasons[0], /no member/)
  assert.equal(rows[0].behind, 300)
  assert.deepEqual(rows[4].reasons, [])
  assert.equal(headline(rows, 1).text, '4 of 5 servers are ill')
})

test('who may see only a part is told no lie', () => {
  assert.deepEqual(join(undefined, peers('a', 'b'), undefined).map(r => [r.told, r.reasons.length]), [[false, 0], [false, 0]])
  assert.equal(join(state(server('a', { Healthy: false })), undefined, undefined)[0].reasons.length, 1)
  assert.equal(headline(join(state(server('a', { Status: 'leader' }), server('b')), peers('a', 'b'), limits), 0).state, 'warn')
})

test('members in trouble come first', () => {
  const member = (Name, Status, Tags) => ({ Name, Addr: '10.0.0.1', Port: 8301, Status, Tags })
  const rows = members([member('n1', 1, { role: 'node' }), member('s2.dc2', 4, { role: 'consul', dc: 'dc2', legate: '1.2.3' }), member('n3', 3), member('n9', 9)], () => 1)
  assert.deepEqual(rows.map(r => [r.name, r.word]), [['s2.dc2', 'failed'], ['n3', 'left'], ['n9', 'state 9'], ['n1', 'alive']])
  assert.deepEqual([rows[0].node, rows[0].version, rows[0].tags], ['s2', '1.2.3', ['server']])
})

import test from 'node:test'
import assert from 'node:assert/strict'
import { bodyOf, last, linesOf, listed, losersOf, management, namesOf } from '../assets/lib/records.js'

const secret = 'never-shown'
const token = { AccessorID: 'a', SecretID: secret, Description: 'ci', Policies: [{ ID: 'p', Name: 'web' }], Local: true, AuthMethod: 'm', ExpirationTime: 'then',
  NodeIdentities: [{ NodeName: 'n1', Datacenter: 'dc1' }], TemplatedPolicies: [{ TemplateName: 'builtin/node', TemplateVariables: { name: 'n2' }, Datacenters: ['dc2'] }],
  Hash: 'h', CreateIndex: 1, ModifyIndex: 2, CreateTime: 'now' }

test('neither what is compared nor what is sent has a secret', () => {
  assert.deepEqual(linesOf('tokens', token), ['Description: ci', 'Counts: in its datacenter', 'Ends: then', 'Policy: web', 'Node: n1 in dc1', 'Template: builtin/node n2 in dc2'])
  const body = bodyOf(token)
  assert.ok(!JSON.stringify([body, linesOf('tokens', token)]).includes(secret))
  assert.deepEqual(Object.keys(body).sort(), ['AccessorID', 'AuthMethod', 'Description', 'ExpirationTime', 'Local', 'NodeIdentities', 'Policies', 'TemplatedPolicies'])
})

test('rules are compared line by line', () => {
  assert.deepEqual(linesOf('policies', { Name: 'p', Rules: 'a\nb', Datacenters: ['dc1', 'dc2'] }), ['Name: p', 'Description: ', 'Datacenters: dc1, dc2', 'Rules:', 'a', 'b'])
})

test('who loses by a deletion is found, through roles as well, each once', () => {
  const roles = [{ ID: 'r', Name: 'on-call', Policies: [{ ID: 'p' }] }, { ID: 'q', Name: 'other' }]
  const tokens = [{ AccessorID: '1', Description: 'both', Policies: [{ ID: 'p' }], Roles: [{ ID: 'r' }] }, { AccessorID: '2', Roles: [{ ID: 'r' }] }, { AccessorID: '3', Roles: [{ ID: 'q' }] }]
  const rules = [{ BindType: 'policy', BindName: 'web', AuthMethod: 'm' }, { BindType: 'role', BindName: 'on-call', AuthMethod: 'm', Description: 'all' }]
  assert.deepEqual(losersOf('policies', { ID: 'p', Name: 'web' }, { tokens, roles, rules }), { tokens: ['both', '2'], roles: ['on-call'], rules: ['by m'] })
  assert.deepEqual(losersOf('roles', { ID: 'r', Name: 'on-call' }, { tokens, roles, rules }), { tokens: ['both', '2'], roles: [], rules: ['all'] })
  assert.equal(listed(Array.from({ length: 12 }, (_, i) => 'n' + i), 'token'), '12 tokens: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more')
})

test('the last token that may do everything is known', () => {
  const all = id => ({ AccessorID: id, Policies: [{ ID: management }] })
  assert.equal(last(all('1'), [all('1'), { AccessorID: '2' }]), true)
  assert.equal(last(all('1'), [all('1'), all('2')]), false)
  assert.equal(last({ AccessorID: '2' }, [all('1')]), false)
})

test('names are read between commas', () => assert.deepEqual(namesOf(' dc1,dc2  dc3, '), ['dc1', 'dc2', 'dc3']))

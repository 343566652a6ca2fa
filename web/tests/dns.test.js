import test from 'node:test'
import assert from 'node:assert/strict'
import { places, ttl, verdict } from '../assets/lib/dns.js'

const answer = (type, code, ...records) => ({ Type: type, Code: code, Answer: records.map(t => ({ Type: t })), Datacenters: [], Age: 0 })

test('how an answer came out is said by what it has', () => {
  for (const [e, state, text] of [
    [answer('A', 'NOERROR', 'A'), 'good', '1 IPv4 address'],
    [answer('AAAA', 'NOERROR', 'AAAA', 'AAAA'), 'good', '2 IPv6 addresses'],
    [answer('A', 'NOERROR', 'CNAME', 'A'), 'good', '1 IPv4 address'],
    [answer('A', 'NOERROR', 'CNAME'), 'good', '1 record'],
    [answer('SRV', 'NOERROR', 'SRV', 'SRV'), 'good', '2 places'],
    [answer('ANY', 'NOERROR', 'A', 'TXT'), 'good', '2 records'],
    [answer('AAAA', 'NOERROR'), 'unknown', 'No record of the type AAAA'],
    [answer('A', 'NXDOMAIN'), 'warn', 'Nothing is answered'],
    [answer('A', 'SERVFAIL'), 'bad', 'It cannot be said now'],
    [answer('A', 'REFUSED'), 'warn', 'This agent does not answer for it'],
    [answer('A', ''), 'unknown', 'Recursors are asked for it'],
    [answer('A', 'NOTIMP'), 'bad', 'It is not answered'],
  ]) {
    const v = verdict(e)
    assert.deepEqual([v.state, v.text], [state, text], `${e.Type} ${e.Code}`)
  }
})

test('who answered is named, with how old that is', () => {
  assert.equal(places({ Datacenters: [], Age: 0 }), '')
  assert.equal(places({ Datacenters: ['dc1', 'dc2'], Age: 0 }), 'answered by dc1, dc2')
  assert.equal(places({ Datacenters: ['dc3'], Age: 34.2 }), 'answered by dc3, as it was 34 seconds ago')
  assert.deepEqual([0, 30, 3600].map(ttl), ['0 s', '30 s', '3,600 s'])
})

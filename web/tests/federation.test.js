import test from 'node:test'
import assert from 'node:assert/strict'
import { join, guess, headline, healths } from '../assets/lib/federation.js'
import { ms, percent, since, clock, hostPort } from '../assets/lib/fmt.js'

const link = (Datacenter, more = {}) => ({ Datacenter, State: 'up', RoundTripMS: 100, Loss: 0, Servers: 3, Answering: 3, Leader: `${Datacenter}-s1`, LastContact: '2026-01-01T00:00:00Z', ...more })
const cut = dc => link(dc, { State: 'unreachable', Answering: 0, Leader: '', Reason: 'none of its servers answers' })
const view = (Datacenter, ...Links) => ({ Datacenter, Server: 's1', Leader: `${Datacenter}-s1`, Links })

test('one that nobody reaches is cut off', () => {
  const fed = join([view('dc1', cut('dc2'), link('dc10')), { Datacenter: 'dc2', Error: 'unreachable-datacenter', Leader: '', Links: [] }, view('dc10', link('dc1'), cut('dc2'))])
  assert.deepEqual(fed.sites.map(s => [s.dc, s.word]), [['dc1', 'healthy'], ['dc2', 'cut off'], ['dc10', 'healthy']])
  assert.deepEqual(fed.links.map(l => [l.a, l.b, l.state, l.path]), [['dc1', 'dc2', 'unreachable', ''], ['dc1', 'dc10', 'up', 'direct'], ['dc2', 'dc10', 'unreachable', '']])
  assert.equal(headline(fed).text, 'dc2 is cut off')
})

test('a link that one end does not have is not one of a datacenter that is cut off', () => {
  const fed = join([view('dc1', link('dc2'), link('dc3')), view('dc2', link('dc1'), cut('dc3')), view('dc3', link('dc1'), cut('dc2'))])
  assert.equal(headline(fed).text, 'dc2 and dc3 do not reach each other')
  assert.equal(fed.sites[1].word, 'not reached by 1 of 2')
})

test('paths are direct, by gateways, or through another', () => {
  const fed = join([{ ...view('dc1', link('dc2', { Gateways: ['g:1'] }), link('dc3', { Through: ['dc2'] })) }, view('dc2', link('dc1'), link('dc3')), view('dc3')])
  assert.deepEqual(fed.links.map(l => l.path), ['by gateways', 'via dc2', 'direct'])
  const through = join([view('dc1', link('dc2'), link('dc3', { Through: ['dc2'] })), view('dc2', link('dc1'), link('dc3')), view('dc3', link('dc1', { Through: ['dc2'] }), link('dc2'))])
  assert.equal(headline(through).text, 'All datacenters reach each other, dc1 and dc3 through dc2')
})

test('leaders, losses, and those that have left', () => {
  const leaderless = join([{ ...view('dc1'), Leader: '' }])
  assert.equal(headline(leaderless).text, 'dc1 is without a leader')
  assert.equal(headline(join([view('dc1')])).text, 'One datacenter, healthy')
  const lossy = join([view('dc1', link('dc2', { Loss: 0.02 }), link('dc3', { State: 'removed' })), view('dc2', link('dc1'))])
  assert.equal(headline(lossy).text, 'The link dc1 – dc2 loses packets')
  assert.deepEqual(lossy.down.map(s => s.word), ['removed'])
})

test('without the right there are estimates, and no states', () => {
  const at = x => ({ Coordinates: [{ Node: 'n', Coord: { Vec: [x, 0], Height: 0.001, Adjustment: 0 } }] })
  const fed = guess([{ Datacenter: 'a', ...at(0) }, { Datacenter: 'b', ...at(0.05) }])
  assert.equal(Math.round(fed.links[0].trip), 52)
  assert.match(headline(fed).text, /not shown/)
})

test('since when nobody has heard a datacenter is the last that anybody did', () => {
  const at = (dc, LastContact) => ({ ...cut(dc), LastContact })
  const fed = join([view('dc1', at('dc2', '2026-01-01T00:00:03Z'), link('dc3')), { Datacenter: 'dc2', Error: 'x', Links: [] }, view('dc3', link('dc1'), at('dc2', '2026-01-01T00:00:02.5Z'))])
  assert.deepEqual([fed.sites[1].cut, fed.sites[1].heard], [true, Date.parse('2026-01-01T00:00:03Z')])
  assert.deepEqual([fed.sites[0].cut, fed.sites[0].heard], [false, 0])
})

test('services in trouble are named, with the datacenters they are in', () => {
  const of = (Name, Critical = 0, Warning = 0) => ({ Name, Total: 2, Critical, Warning, Passing: 2 - Critical - Warning })
  assert.deepEqual(healths([['dc1', [of('web')]], ['dc2', [of('web')]]]), { state: 'passing', text: 'No service is failing', dc: '' })
  assert.deepEqual(healths([['dc1', [of('web')]], ['dc2', [of('web', 1)]]]), { state: 'critical', text: '1 service is failing: web in dc2', dc: 'dc2' })
  assert.equal(healths([['dc1', [of('web', 2), of('db', 0, 1)]], ['dc2', [of('web', 1), of('api', 1)]]]).text, '2 services are failing: web in dc1 and dc2; api in dc2')
  assert.deepEqual(healths([['dc1', [of('web', 0, 1)]]]), { state: 'warning', text: '1 service has warnings: web in dc1', dc: 'dc1' })
  assert.equal(healths([['dc1', ['a', 'b', 'c', 'd'].map(n => of(n, 1))]]).text, '4 services are failing in dc1')
})

test('numbers as people read them', () => {
  assert.deepEqual([0, 0.25, 3.21, 124.4].map(ms), ['–', '0.25 ms', '3.2 ms', '124 ms'])
  assert.deepEqual([0, 0.0004, 0.021, 0.5].map(percent), ['0 %', '< 0.1 %', '2.1 %', '50 %'])
  assert.equal(since('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:02:10Z')), '2 minutes ago')
  assert.equal(since('0001-01-01T00:00:00Z'), '')
  const noon = new Date(2026, 0, 1, 12, 0, 5).getTime()
  assert.deepEqual([clock(noon, noon), clock(noon, noon + 86400e3)], ['12:00:05', '1 Jan 2026, 12:00:05'])
  assert.deepEqual([hostPort('::1', 80), hostPort('10.0.0.1', 80), hostPort('h', 0)], ['[::1]:80', '10.0.0.1:80', 'h'])
})

import test from 'node:test'
import assert from 'node:assert/strict'
import { layout, misfit, remembering } from '../assets/lib/layout.js'

const named = n => Array.from({ length: n }, (_, i) => `dc${i + 1}`)
const far = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1])
const table = points => points.map(p => points.map(q => p === q ? NaN : far(p, q)))

// scattered is n places that look random and are always the same.
function scattered(n) {
  let seed = 7
  const next = () => (seed = seed * 16807 % 2147483647) / 2147483647
  return Array.from({ length: n }, () => [next() * 300, next() * 200])
}

test('distances that a plane can show are shown', () => {
  for (const n of [2, 3, 4, 10, 50]) {
    const d = table(scattered(n))
    assert.ok(misfit(layout(named(n), d), d) < 0.02, `${n} datacenters are ${misfit(layout(named(n), d), d)} off`)
  }
})

test('what a plane cannot show is nearly shown', () => {
  const d = named(4).map((_, i) => named(4).map((_, j) => i === j ? NaN : 100)) // a tetrahedron
  assert.ok(misfit(layout(named(4), d), d) < 0.2)
})

test('one, and those of which nothing is known, have places', () => {
  assert.deepEqual(layout(['dc1'], [[NaN]]), [[0, 0]])
  for (const p of layout(named(3), named(3).map(() => [NaN, NaN, NaN]))) assert.ok(p.every(Number.isFinite))
  assert.equal(misfit([[0, 0], [1, 1]], [[NaN, NaN], [NaN, NaN]]), 0)
})

test('the same values make the same picture, to the bit', () => {
  const d = table(scattered(12))
  assert.deepEqual(layout(named(12), d), layout(named(12), d))
})

test('it stays while values move a little', () => {
  for (const n of [2, 3, 12, 50]) {
    const d = table(scattered(n)), names = named(n), first = layout(names, d)
    const before = new Map(names.map((name, i) => [name, first[i]]))
    const moved = d.map((row, i) => row.map((v, j) => v * (1 + 0.04 * Math.sin(i * j))))
    layout(names, moved, before).forEach((p, i) => assert.ok(far(p, first[i]) < 25, `${names[i]} of ${n} moved by ${far(p, first[i])} of 300`))
  }
})

test('one that comes does not turn the others', () => {
  const points = scattered(9), d = table(points), names = named(9)
  const first = layout(names.slice(0, 8), table(points.slice(0, 8)))
  layout(names, d, new Map(names.slice(0, 8).map((name, i) => [name, first[i]]))).slice(0, 8)
    .forEach((p, i) => assert.ok(far(p, first[i]) < 15, `${names[i]} moved by ${far(p, first[i])}`))
})

test('who is cut off stays where it was, and the others do, too', () => {
  const names = named(6), d = table(scattered(6)), first = layout(names, d), before = new Map(names.map((name, i) => [name, first[i]]))
  const cut = d.map((row, i) => row.map((v, j) => i === 2 || j === 2 ? NaN : v * (1 + 0.02 * Math.cos(i + j))))
  layout(names, remembering(names, cut, before), before).forEach((p, i) => assert.ok(far(p, first[i]) < 10, `${names[i]} moved by ${far(p, first[i])} of 300`))
  assert.ok(Number.isNaN(remembering(names, cut, new Map())[0][2]))
})

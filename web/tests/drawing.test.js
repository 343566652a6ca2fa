import test from 'node:test'
import assert from 'node:assert/strict'
import { radius, spread, place, direct, through, label, meets } from '../assets/lib/drawing.js'

const far = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1])
const touch = (p, q) => Math.abs(p.x - q.x) * 2 < p.w + q.w && Math.abs(p.y - q.y) * 2 < p.h + q.h
const disc = ([x, y]) => ({ x, y, w: 2 * radius, h: 2 * radius })

// Five places with all links, two of them next door to each other; one link goes through another place.
const spots = { a: [110, 130], b: [320, 150], c: [580, 70], d: [112, 34], e: [245, 210] }, points = Object.values(spots), names = Object.keys(spots)
const pairs = names.flatMap((p, i) => names.slice(0, i).map(q => [q, p]))
const ends = pair => pair.map(n => spots[n])
const by = pair => pair.join('') === 'de' ? through([spots.d, spots.a, spots.e]) : undefined

function drawn() {
  const texts = place(points, names.map(() => ({ w: 34, h: 20 })), pairs.map(p => by(p) ?? ends(p)), 690, 260)
  const lines = pairs.map(p => by(p) ?? direct(...ends(p), points.filter(at => !ends(p).includes(at)), texts))
  return { texts, lines, ...label(lines.map(line => ({ line, w: 50, h: 18 })), points, texts, 690, 260) }
}

test('each link has a label, which touches no other line, place, text or label', () => {
  const { texts, lines, boxes, whole } = drawn()
  assert.ok(whole && boxes.every(Boolean))
  boxes.forEach((box, i) => {
    assert.ok(meets(lines[i], box, 3), `the label of ${pairs[i]} is off its line`)
    lines.forEach((line, j) => assert.ok(i === j || !meets(line, box), `the label of ${pairs[i]} touches ${pairs[j]}`))
    for (const o of [...points.map(disc), ...texts, ...boxes.slice(0, i)]) assert.ok(!touch(box, o), `the label of ${pairs[i]} covers something`)
  })
})

test('texts are within the drawing, and cover no place and no other text', () => {
  const { texts } = drawn()
  texts.forEach((t, i) => {
    assert.ok(t.x - t.w / 2 >= 0 && t.y - t.h / 2 >= 0 && t.x + t.w / 2 <= 690 && t.y + t.h / 2 <= 260)
    for (const o of [...points.map(disc), ...texts.slice(0, i)]) assert.ok(!touch(t, o), `the text of ${names[i]} covers something`)
  })
})

test('a text by the edge stays below its place', () => {
  const [box] = place([[280, 100]], [{ w: 120, h: 35 }], [], 311, 240)
  assert.deepEqual([box.x, box.y > 100 + radius], [249, true])
})

test('a line goes round a place that is in its way', () => {
  const line = direct([0, 0], [200, 0], [[100, 2]], [])
  assert.ok(line.every(p => far(p, [100, 2]) > radius) && line.length > 2)
  assert.deepEqual(direct([0, 0], [200, 0], [[100, 80]], []), [[0, 0], [200, 0]])
})

test('a link through another place passes that place', () => {
  assert.ok(through([spots.d, spots.a, spots.e]).some(p => far(p, spots.a) < radius))
  assert.ok(through([spots.d, spots.a, spots.b, spots.e]).some(p => far(p, spots.b) < radius))
})

test('neighbours have a gap, and who has one stays', () => {
  const out = spread([[0, 0], [3, 0], [0, 0], [500, 0]], 80)
  out.forEach((p, i) => out.slice(0, i).forEach(q => assert.ok(far(p, q) > 79)))
  assert.deepEqual(out[3], [500, 0])
})

test('what has no room has no label, unless it must have one', () => {
  const line = [[0, 50], [60, 50]], items = must => [{ line, w: 50, h: 18, must }]
  assert.deepEqual(label(items(false), [[0, 50], [60, 50]], [], 60, 100), { boxes: [undefined], whole: false })
  assert.ok(label(items(true), [[0, 50], [60, 50]], [], 60, 100).boxes[0])
})

// What is drawn on the map keeps clear of the rest: lines go round places, texts and labels cover nothing.
// Pure geometry in pixels. A point is [x, y], a line a list of points, a box { x, y, w, h } about its middle.

export const radius = 19  // of the circle of a place
const clear = 6           // between a line and a place that it passes
const beside = 26         // between a link through another place and the links that it uses, in the middle
const room = 3            // between a label and what is not its own

const hits = (p, q, margin = 0) => Math.abs(p.x - q.x) * 2 < p.w + q.w + 2 * margin && Math.abs(p.y - q.y) * 2 < p.h + q.h + 2 * margin
const disc = ([x, y]) => ({ x, y, w: 2 * radius, h: 2 * radius })
const apart = (p, q) => Math.hypot(q[0] - p[0], q[1] - p[1])

// inside reports whether a stretch meets a box (Liang and Barsky 1984).
function inside([x1, y1], [x2, y2], box, margin) {
  const w = box.w / 2 + margin, h = box.h / 2 + margin, dx = x2 - x1, dy = y2 - y1
  let from = 0, to = 1
  for (const [p, q] of [[-dx, x1 - box.x + w], [dx, box.x + w - x1], [-dy, y1 - box.y + h], [dy, box.y + h - y1]]) {
    if (p === 0 && q < 0) return false
    if (p < 0) from = Math.max(from, q / p)
    if (p > 0) to = Math.min(to, q / p)
  }
  return from < to
}

// meets reports whether a line comes nearer to a box than a margin.
export const meets = (line, box, margin = 0) => line.some((p, i) => i > 0 && inside(line[i - 1], p, box, margin))

// passes reports whether a line goes behind the circle of a place.
function passes(line, at) {
  return line.some((q, i) => {
    if (i === 0) return false
    const p = line[i - 1], long = apart(p, q) || 1
    const t = Math.max(0, Math.min(1, ((at[0] - p[0]) * (q[0] - p[0]) + (at[1] - p[1]) * (q[1] - p[1])) / long ** 2))
    return apart(at, [p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]) < radius + clear
  })
}

// spread moves points apart until each two have a gap between them; those that have it stay.
export function spread(points, gap) {
  const out = points.map(p => [...p])
  for (let round = 0, moved = true; moved && round < 100; round++) {
    moved = false
    for (let i = 0; i < out.length; i++) {
      for (let j = 0; j < i; j++) {
        const far = apart(out[i], out[j])
        if (far > gap - 0.5) continue
        const [ux, uy] = far > 1e-6 ? [(out[i][0] - out[j][0]) / far, (out[i][1] - out[j][1]) / far] : [Math.cos(i), Math.sin(i)]
        const by = (gap - far) / 2
        out[i] = [out[i][0] + ux * by, out[i][1] + uy * by]
        out[j] = [out[j][0] - ux * by, out[j][1] - uy * by]
        moved = true
      }
    }
  }
  return out
}

const normal = (p, q) => { const far = apart(p, q) || 1; return [(p[1] - q[1]) / far, (q[0] - p[0]) / far] }
const bends = [0, 26, -26, 44, -44, 64, -64, 90, -90]

// arc is a line from a to b whose middle is so many pixels off the straight one.
function arc(a, b, bend) {
  if (bend === 0) return [a, b]
  const [nx, ny] = normal(a, b), c = [(a[0] + b[0]) / 2 + nx * 2 * bend, (a[1] + b[1]) / 2 + ny * 2 * bend]
  return Array.from({ length: 17 }, (_, i) => {
    const t = i / 16, s = 1 - t
    return [0, 1].map(k => s * s * a[k] + 2 * s * t * c[k] + t * t * b[k])
  })
}

// direct is the straightest line from a to b that passes no other place, and no text if that can be.
export function direct(a, b, others, texts) {
  let best, least = Infinity
  for (const bend of bends) {
    const line = arc(a, b, bend), cost = 10 * others.filter(at => passes(line, at)).length + 4 * texts.filter(t => meets(line, t, 1)).length + Math.abs(bend) / 40
    if (cost < least) [best, least] = [line, cost]
  }
  return best
}

// through is a line by way of other places, in arcs beside the direct lines, on the outer side of where it turns.
export function through(points) {
  const [a, t, b] = points, turn = (t[0] - a[0]) * (b[1] - t[1]) - (t[1] - a[1]) * (b[0] - t[0]), side = turn > 0 ? -1 : 1
  return points.slice(1).flatMap((q, i) => arc(points[i], q, side * Math.min(beside, apart(points[i], q) / 4)))
}

// Where a text may stand, best first: how far to the right and down, and what is lost by it.
const sides = [[0, 1, 0], [0, -1, 0.1], [-1, 1, 0.4], [1, 1, 0.4], [-1, -1, 0.4], [1, -1, 0.4], [1, 0, 0.6], [-1, 0, 0.6]]

// textAt is the box of a text of a size at a side of a place, above and below it as far in as the drawing has room.
function textAt([x, y], { w, h, ring = 0 }, [right, down], width) {
  const dx = right === 0 ? 0 : down === 0 ? radius + 6 + ring + w / 2 : w / 2 + 8, dy = down === 0 ? 0 : radius + 4 + ring + h / 2
  const within = right === 0 ? Math.max(w / 2 + 2, Math.min(width - w / 2 - 2, x)) : x + right * dx
  return { w, h, x: within, y: y + down * dy }
}

// place finds where the text of each place stands, so that it covers as little as can be. sizes are { w, h, ring },
// ring being what is drawn around the circle; what comes back are boxes.
export function place(spots, sizes, lines, width, height) {
  const out = spots.map(() => undefined)
  const cost = (box, i, side) => side[2]
    + 10 * spots.filter((p, j) => j !== i && hits(box, disc(p), 2)).length
    + 10 * out.filter((o, j) => o && j !== i && hits(box, o, 2)).length
    + 2 * lines.filter(l => meets(l, box, 1)).length
    + (box.x - box.w / 2 < 2 || box.x + box.w / 2 > width - 2 || box.y - box.h / 2 < 2 || box.y + box.h / 2 > height - 2 ? 30 : 0)
  for (let round = 0; round < 2; round++) { // the second knows where all the others are
    spots.forEach((at, i) => {
      let least = Infinity
      for (const side of sides) {
        const box = textAt(at, sizes[i], side, width), now = cost(box, i, side)
        if (now < least) [out[i], least] = [box, now]
      }
    })
  }
  return out
}

// along is the point of a line after a share of its length, and the direction there.
function along(line, share) {
  let left = share * line.reduce((sum, p, i) => i > 0 ? sum + apart(line[i - 1], p) : 0, 0)
  for (let i = 1; i < line.length; i++) {
    const p = line[i - 1], q = line[i], far = apart(p, q)
    if (left <= far && far > 0) return { at: [p[0] + (q[0] - p[0]) * left / far, p[1] + (q[1] - p[1]) * left / far], n: normal(p, q) }
    left -= far
  }
  return { at: line.at(-1), n: [0, -1] }
}

const shares = Array.from({ length: 29 }, (_, i) => 0.5 + (i % 2 ? 1 : -1) * Math.ceil(i / 2) * 0.025) // from the middle outwards

// candidates are boxes of a label on its line or, then, right beside it.
function candidates({ line, w, h }) {
  const steps = shares.map(s => along(line, s)), off = n => (Math.abs(n[0]) * w + Math.abs(n[1]) * h) / 2 + 2
  return [0, 1, -1].flatMap(side => steps.map(({ at, n }) => ({ x: at[0] + side * n[0] * off(n), y: at[1] + side * n[1] * off(n), w, h })))
}

// label finds a box for each of items { line, w, h, must }, on or right beside its own line and touching no other
// line, place or text. It returns the boxes, undefined where there is none, and whether all have one; what must have
// one gets it wherever it is.
export function label(items, spots, texts, width, height) {
  const fixed = [...spots.map(disc), ...texts]
  const all = items.map(item => candidates(item).filter(box => box.x - box.w / 2 > 0 && box.x + box.w / 2 < width && box.y - box.h / 2 > 0 && box.y + box.h / 2 < height
    && !fixed.some(o => hits(box, o, 1)) && !items.some(o => o !== item && meets(o.line, box, room))))
  let order = items.map((_, i) => i).sort((i, j) => (items[j].must ? 1 : 0) - (items[i].must ? 1 : 0) || all[i].length - all[j].length)
  let boxes, missing
  for (let round = 0; round <= items.length; round++) {
    boxes = items.map(() => undefined)
    for (const i of order) boxes[i] = all[i].find(box => boxes.every(o => !o || !hits(box, o, room)))
    missing = order.filter(i => !boxes[i])
    if (missing.every(i => all[i].length === 0)) break
    order = [...missing, ...order.filter(i => boxes[i])] // those that found no room choose first
  }
  items.forEach((item, i) => {
    if (!boxes[i] && item.must) boxes[i] = candidates(item).find(box => boxes.every(o => !o || !hits(box, o))) ?? candidates(item)[0]
  })
  return { boxes, whole: missing.length === 0 }
}

// Places in the plane whose distances are close to given ones: stress majorization (SMACOF;
// de Leeuw 1977; Gansner, Koren and North 2004), which begins at what classical scaling finds
// (Torgerson 1952), since from a circle it often ends in knots. It is deterministic, and later
// layouts begin where the last one ended, so that the picture stays while values move a little.

const rounds = 300
const enough = 1e-5 // of the stress, in one round

const between = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1])

// majorize moves points, one after the other, until the stress, the sum over pairs of
// w (d - distance)² with w = 1/d², hardly falls any more; each move lowers it. Pairs whose
// distance is unknown (NaN) do not count.
function majorize(points, d) {
  const n = points.length
  for (let round = 0, last = Infinity; round < rounds; round++) {
    let stress = 0
    for (let i = 0; i < n; i++) {
      const p = points[i]
      let x = 0, y = 0, all = 0
      for (let j = 0; j < n; j++) {
        if (i === j || !(d[i][j] > 0)) continue
        const weight = 1 / d[i][j] ** 2, q = points[j], far = between(p, q), pull = far > 1e-9 ? d[i][j] / far : 0
        x += weight * (q[0] + pull * (p[0] - q[0]))
        y += weight * (q[1] + pull * (p[1] - q[1]))
        all += weight
        stress += weight * (far - d[i][j]) ** 2
      }
      if (all > 0) points[i] = [x / all, y / all]
    }
    if (last - stress < enough * last) break
    last = stress
  }
  return points
}

// filled has no unknown distances: the way through others, or the longest, stands in.
function filled(d) {
  const n = d.length, most = Math.max(...d.flat().filter(v => v > 0), 1)
  const out = d.map((row, i) => row.map((v, j) => i === j ? 0 : v > 0 ? v : Infinity))
  for (let k = 0; k < n; k++) for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[i][j] = Math.min(out[i][j], out[i][k] + out[k][j])
  return out.map(row => row.map(v => v === Infinity ? most : v))
}

// scaling is classical scaling: the two main axes of the centred squares of distances.
function scaling(distances) {
  const d = filled(distances), n = d.length, mean = list => list.reduce((a, b) => a + b, 0) / n
  const squares = d.map(row => row.map(v => v * v)), rows = squares.map(mean), all = mean(rows)
  const b = squares.map((row, i) => row.map((v, j) => (rows[i] + rows[j] - v - all) / 2))
  const axes = [0, 1].map(k => {
    let v = d.map((_, i) => Math.cos(i + k)), length = 0 // any start that is no axis itself
    for (let round = 0; round < 100; round++) { // power iteration
      const next = b.map(row => row.reduce((sum, x, j) => sum + x * v[j], 0))
      length = Math.hypot(...next)
      if (length < 1e-9) break
      v = next.map(x => x / length)
    }
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) b[i][j] -= length * v[i] * v[j]
    return v.map(x => x * Math.sqrt(length))
  })
  return d.map((_, i) => [axes[0][i], axes[1][i]])
}

const middle = points => [0, 1].map(k => points.reduce((sum, p) => sum + p[k], 0) / points.length)

// turn rotates points about their middle so that the longest axis lies flat, the first point
// to the left and, of the others, the one farthest from the axis below it.
function turn(points) {
  const [mx, my] = middle(points)
  let xx = 0, xy = 0, yy = 0
  for (const [x, y] of points) { xx += (x - mx) ** 2; xy += (x - mx) * (y - my); yy += (y - my) ** 2 }
  const a = Math.atan2(2 * xy, xx - yy) / 2, cos = Math.cos(a), sin = Math.sin(a)
  let out = points.map(([x, y]) => [(x - mx) * cos + (y - my) * sin, (y - my) * cos - (x - mx) * sin])
  if (out[0][0] > 0) out = out.map(([x, y]) => [-x, -y])
  const off = out.reduce((far, p) => Math.abs(p[1]) > Math.abs(far[1]) + 1e-9 ? p : far, [0, 0])
  return off[1] < 0 ? out.map(([x, y]) => [x, -y]) : out
}

// fit rotates and mirrors points onto where those known before were (Procrustes).
function fit(points, names, before) {
  const known = names.flatMap((name, i) => before.has(name) ? [i] : [])
  const [mx, my] = middle(known.map(i => points[i])), [bx, by] = middle(known.map(i => before.get(names[i])))
  const best = [1, -1].map(mirror => {
    let dot = 0, cross = 0
    for (const i of known) {
      const x = points[i][0] - mx, y = (points[i][1] - my) * mirror, [u, v] = before.get(names[i])
      dot += x * (u - bx) + y * (v - by)
      cross += x * (v - by) - y * (u - bx)
    }
    return { mirror, good: Math.hypot(dot, cross), a: Math.atan2(cross, dot) }
  }).reduce((p, q) => q.good > p.good + 1e-9 ? q : p)
  const cos = Math.cos(best.a), sin = Math.sin(best.a)
  return points.map(([x, y]) => {
    const u = x - mx, v = (y - my) * best.mirror
    return [bx + u * cos - v * sin, by + u * sin + v * cos]
  })
}

// strain is what majorize makes small: the sum of squares of how much each distance is off, as a share of it.
function strain(points, d) {
  let sum = 0
  for (let i = 0; i < points.length; i++) for (let j = 0; j < i; j++) if (d[i][j] > 0) sum += (between(points[i], points[j]) / d[i][j] - 1) ** 2
  return sum
}

const tried = 12 // datacenters up to which each is tried on the other side

// settled is the best of several ends: with each point once on the other side of the long axis, since a place may
// be caught on the wrong side of a neighbour.
function settled(d) {
  const start = scaling(d)
  let best = majorize(start.map(p => [...p]), d), least = strain(best, d)
  for (let k = 0; k < start.length && start.length <= tried; k++) {
    const points = majorize(best.map(([x, y], i) => i === k ? [x, 2 * middle(best)[1] - y] : [x, y]), d), now = strain(points, d)
    if (now < least * 0.99) [best, least] = [points, now]
  }
  return best
}

// layout returns a place [x, y] for each name, in the unit of the distances. d[i][j] is the
// distance of names i and j, NaN if it is unknown; before is a Map of earlier places.
export function layout(names, d, before = new Map()) {
  const n = names.length
  if (n === 1) return [before.get(names[0]) ?? [0, 0]]
  const points = names.every(name => before.has(name)) ? majorize(names.map(name => before.get(name)), d) : settled(d)
  return names.filter(name => before.has(name)).length > 1 ? fit(points, names, before) : turn(points)
}

// remembering fills in the distances that are not known any more as they are between earlier places: what is cut
// off stays where it was.
export function remembering(names, d, before) {
  const at = names.map(name => before.get(name))
  return d.map((row, i) => row.map((v, j) => v > 0 || i === j || !at[i] || !at[j] ? v : Math.max(between(at[i], at[j]), 0.5)))
}

// misfit is by how much distances on the map are off, on average: 0.1 is a tenth.
export function misfit(points, d) {
  let off = 0, pairs = 0
  for (let i = 0; i < points.length; i++) {
    for (let j = 0; j < i; j++) {
      if (!(d[i][j] > 0)) continue
      off += Math.abs(between(points[i], points[j]) - d[i][j]) / d[i][j]
      pairs++
    }
  }
  return pairs ? off / pairs : 0
}
